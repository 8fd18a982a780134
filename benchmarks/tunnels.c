/* Origin and client of the proxy benchmark, in C so that neither is what is measured.
 *
 *   tunnels origin ADDRESS PORT
 *       Accept connections. The first byte of each says what it wants: `D` and 8 bytes (little-endian) are
 *       answered with that many bytes and the end; everything else is sent back.
 *   tunnels bulk WHERE ADDRESS NAME PORT TUNNELS BYTES
 *       Download BYTES through each of TUNNELS at once; print the seconds.
 *   tunnels exchanges WHERE ADDRESS NAME PORT COUNT
 *       Send 64 bytes and wait for them, COUNT times in one tunnel; print the median and the 95th percentile in seconds.
 *   tunnels open WHERE ADDRESS NAME PORT COUNT AT_ONCE [HELLO]
 *       Open, use for one exchange and close COUNT tunnels, from AT_ONCE threads; print the seconds.
 *       The exchange is the content of the file HELLO, or 64 bytes.
 *   tunnels hold WHERE ADDRESS NAME PORT COUNT
 *       Open COUNT tunnels, exchange 64 bytes in each, print `held`, and keep them until standard input ends.
 *
 * WHERE is the port of a proxy on 127.0.0.1, which is asked for NAME, or `direct`: then ADDRESS is connected to.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, MESSAGE = 64, LARGEST_HELLO = 4096, LONGEST_SECONDS = 60 };

static struct {
    int proxy_port; /* 0: direct */
    const char *address, *name;
    int port;
} target;

static char hello[LARGEST_HELLO] = "E"; /* and zeros */
static size_t hello_size = MESSAGE;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void send_all(int connection, const void *data, size_t size) {
    const char *at = data;
    while (size > 0) {
        ssize_t sent = send(connection, at, size, MSG_NOSIGNAL);
        if (sent < 0) fail("send");
        at += sent;
        size -= sent;
    }
}

static void receive_all(int connection, void *data, size_t size) {
    char *at = data;
    while (size > 0) {
        ssize_t got = recv(connection, at, size, 0);
        if (got < 0) fail("recv");
        if (got == 0) {
            fprintf(stderr, "the tunnel ended early\n");
            exit(1);
        }
        at += got;
        size -= got;
    }
}

static struct sockaddr_in place(const char *address, int port) {
    struct sockaddr_in made = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &made.sin_addr) != 1) fail("address");
    return made;
}

static int connect_to(const char *address, int port) {
    struct sockaddr_in peer = place(address, port);
    int one = 1, connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0) fail("socket");
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(connection, (struct sockaddr *)&peer, sizeof peer) != 0) fail("connect");
    return connection;
}

/* Return a connection to the origin, through the proxy when there is one. */
static int open_tunnel(void) {
    if (target.proxy_port == 0) return connect_to(target.address, target.port);
    int connection = connect_to("127.0.0.1", target.proxy_port);
    char text[512];
    int size = snprintf(text, sizeof text, "CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n", target.name, target.port,
                        target.name, target.port);
    send_all(connection, text, size);
    size_t used = 0;
    do { /* nothing follows the answer before we have said something */
        ssize_t got = recv(connection, text + used, sizeof text - 1 - used, 0);
        if (got <= 0) fail("no answer to CONNECT");
        used += got;
        text[used] = 0;
    } while (strstr(text, "\r\n\r\n") == NULL && used < sizeof text - 1);
    if (strncmp(text, "HTTP/1.", 7) != 0 || strncmp(text + 8, " 200", 4) != 0) {
        fprintf(stderr, "CONNECT was answered: %s\n", text);
        exit(1);
    }
    return connection;
}

static void *serve(void *argument) {
    int connection = (int)(intptr_t)argument, one = 1;
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char *buffer = calloc(1, CHUNK);
    ssize_t got = recv(connection, buffer, CHUNK, 0);
    if (got > 0 && buffer[0] == 'D') {
        uint64_t left;
        while (got < 9) {
            ssize_t more = recv(connection, buffer + got, 9 - got, 0);
            if (more <= 0) goto end;
            got += more;
        }
        memcpy(&left, buffer + 1, sizeof left);
        while (left > 0) {
            ssize_t sent = send(connection, buffer, left < CHUNK ? left : CHUNK, MSG_NOSIGNAL);
            if (sent < 0) goto end;
            left -= sent;
        }
    }
    while (got > 0 && buffer[0] != 'D') {
        if (send(connection, buffer, got, MSG_NOSIGNAL) != got) goto end;
        got = recv(connection, buffer, CHUNK, 0);
    }
end:
    free(buffer);
    close(connection);
    return NULL;
}

static void origin(const char *address, int port) {
    struct sockaddr_in own = place(address, port);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&own, sizeof own) != 0 || listen(listener, 4096) != 0) fail("listen");
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    puts("ready");
    fflush(stdout);
    for (;;) {
        pthread_t thread;
        int connection = accept(listener, NULL, NULL);
        if (connection < 0 || pthread_create(&thread, &small, serve, (void *)(intptr_t)connection) != 0) fail("accept");
    }
}

static void on_threads(int count, void *(*work)(void *), void *argument) {
    pthread_t threads[count];
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, work, argument) != 0) fail("thread");
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static void *download(void *argument) {
    uint64_t left = *(uint64_t *)argument;
    char question[9] = "D", *buffer = malloc(CHUNK);
    memcpy(question + 1, &left, sizeof left);
    int connection = open_tunnel();
    send_all(connection, question, sizeof question);
    while (left > 0) {
        ssize_t got = recv(connection, buffer, CHUNK, 0);
        if (got <= 0) fail("download");
        left -= got;
    }
    free(buffer);
    close(connection);
    return NULL;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void exchanges(int count) {
    int connection = open_tunnel(), unmeasured = 100;
    char message[MESSAGE] = "E";
    double *taken = calloc(count, sizeof *taken);
    for (int i = -unmeasured; i < count; i++) {
        double begun = now();
        send_all(connection, message, sizeof message);
        receive_all(connection, message, sizeof message);
        if (i >= 0) taken[i] = now() - begun;
    }
    qsort(taken, count, sizeof *taken, by_size);
    printf("%.9f %.9f\n", taken[count / 2], taken[count * 95 / 100]);
}

static void *open_and_close(void *argument) {
    char answer[LARGEST_HELLO];
    while (__atomic_fetch_sub((int *)argument, 1, __ATOMIC_RELAXED) > 0) {
        int connection = open_tunnel();
        send_all(connection, hello, hello_size);
        receive_all(connection, answer, hello_size);
        close(connection);
    }
    return NULL;
}

static void read_hello(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || (hello_size = fread(hello, 1, sizeof hello, file)) == 0) fail(path);
    fclose(file);
}

static void hold(int count) {
    char message[MESSAGE] = "E";
    for (int i = 0; i < count; i++) {
        int connection = open_tunnel();
        send_all(connection, message, sizeof message);
        receive_all(connection, message, sizeof message);
    }
    puts("held");
    fflush(stdout);
    while (read(0, message, 1) > 0) {
    }
}

int main(int count, char **words) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    if (count == 4 && strcmp(words[1], "origin") == 0) origin(words[2], atoi(words[3]));
    if (count < 7) return 2;
    if (strcmp(words[1], "hold") != 0) alarm(LONGEST_SECONDS); /* a proxy that hangs must not hang us */
    target.proxy_port = strcmp(words[2], "direct") == 0 ? 0 : atoi(words[2]);
    target.address = words[3];
    target.name = words[4];
    target.port = atoi(words[5]);
    int number = atoi(words[6]);
    double begun = now();
    if (strcmp(words[1], "bulk") == 0 && count == 8) {
        uint64_t bytes = strtoull(words[7], NULL, 10);
        on_threads(number, download, &bytes);
        printf("%.6f\n", now() - begun);
    } else if (strcmp(words[1], "exchanges") == 0) {
        exchanges(number);
    } else if (strcmp(words[1], "open") == 0 && count >= 8) {
        if (count == 9) read_hello(words[8]);
        on_threads(atoi(words[7]), open_and_close, &number);
        printf("%.6f\n", now() - begun);
    } else if (strcmp(words[1], "hold") == 0) {
        hold(number);
    } else {
        return 2;
    }
    return 0;
}
