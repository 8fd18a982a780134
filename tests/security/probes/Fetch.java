import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;

/** Asks for addresses as `METHOD address` and prints what came, a line each. */
public class Fetch {
    public static void main(String[] all) {
        for (String asked : all) {
            String[] words = asked.split(" ");
            System.out.println(asked + " -> " + ask(words[0], words[1]).replaceAll("\\s+", " "));
        }
    }

    private static String ask(String method, String address) {
        try {
            HttpURLConnection connection = (HttpURLConnection) URI.create(address).toURL().openConnection();
            connection.setRequestMethod(method);
            connection.setReadTimeout(20_000);
            int status = connection.getResponseCode();
            try (InputStream body = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
                return status + " " + (body == null ? "" : new String(body.readAllBytes()));
            }
        } catch (Exception error) {
            return error.toString();
        }
    }
}
