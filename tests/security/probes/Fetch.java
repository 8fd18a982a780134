import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Arrays;

/** Asks for addresses as `METHOD address` and prints what came, a line each; by the older or the newer of Java's own. */
public class Fetch {
    public static void main(String[] all) {
        boolean newer = all[0].equals("client");
        for (String asked : Arrays.copyOfRange(all, 1, all.length)) {
            String[] words = asked.split(" ");
            String answer = newer ? askByClient(words[0], words[1]) : askByConnection(words[0], words[1]);
            System.out.println(asked + " -> " + answer.replaceAll("\\s+", " "));
        }
    }

    private static String askByClient(String method, String address) {
        try {
            HttpRequest request =
                HttpRequest.newBuilder(URI.create(address)).method(method, BodyPublishers.noBody()).build();
            HttpResponse<String> answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
            return answer.statusCode() + " " + answer.body();
        } catch (Exception error) {
            return error.toString();
        }
    }

    private static String askByConnection(String method, String address) {
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
