/* An Azure Blob endpoint that stores names and sizes and drops the bytes: the destination of the benchmarks.
 *
 * It has one thread per connection. Plain bodies are dropped inside the kernel (MSG_TRUNC copies nothing), TLS bodies are
 * decrypted into one small buffer. Signatures, CRCs and conditions are not checked; the tests do that.
 *
 *   sink PORT [--latency-ms N] [--bytes-per-s N] [--tls CERT KEY CIPHERSUITE]
 *
 * GET /__stats returns the requests by kind; PUT /__reset removes all blobs and counts.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
static SSL_CTX *tls;
#else
typedef void SSL;
#endif

enum { BUFFER = 64 * 1024, PIECE = 1024 * 1024, BUCKETS = 1 << 18 };

static long latency_ms;
static long bytes_per_s;

struct blob {
    struct blob *next;
    long long staged, committed; /* committed: -1 while there is none */
    char name[];
};
static struct blob *table[BUCKETS];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const KINDS[] = {"put_block", "put_block_list", "get_block_list", "put_blob",
                                    "head_blob", "list",           "other"};
enum kind { PUT_BLOCK, PUT_BLOCK_LIST, GET_BLOCK_LIST, PUT_BLOB, HEAD_BLOB, LIST, OTHER, KIND_COUNT };
static atomic_llong counts[KIND_COUNT], body_bytes, connections;

struct connection {
    int fd;
    SSL *ssl;
    size_t start, end; /* unread bytes of the buffer */
    char buffer[BUFFER];
};

static ssize_t receive(struct connection *c, void *into, size_t size) {
#ifdef WITH_TLS
    if (c->ssl) return SSL_read(c->ssl, into, (int)size);
#endif
    return recv(c->fd, into, size, 0);
}

static bool send_all(struct connection *c, const char *data, size_t size) {
    while (size) {
        ssize_t sent;
#ifdef WITH_TLS
        if (c->ssl) sent = SSL_write(c->ssl, data, (int)size);
        else
#endif
            sent = send(c->fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sleep_s(double seconds) {
    if (seconds <= 0) return;
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&t, &t) && errno == EINTR) {}
}

/* Read the rest of a body and forget it; at most bytes_per_s if that is set. */
static bool drop_body(struct connection *c, long long size) {
    size_t here = c->end - c->start;
    if ((long long)here > size) here = (size_t)size;
    c->start += here;
    long long left = size - (long long)here, done = (long long)here;
    double began = bytes_per_s ? now_s() : 0;
    while (left > 0) {
        size_t most = bytes_per_s ? 128 * 1024 : PIECE;
        if ((long long)most > left) most = (size_t)left;
        ssize_t got;
        if (c->ssl) got = receive(c, c->buffer, most < BUFFER ? most : BUFFER);
        else got = recv(c->fd, NULL, most, MSG_TRUNC);
        if (got <= 0) return false;
        left -= got;
        done += got;
        if (bytes_per_s) sleep_s((double)done / (double)bytes_per_s - (now_s() - began));
    }
    if (c->ssl && size > (long long)here) c->start = c->end = 0;
    body_bytes += size;
    return true;
}

static struct blob *find(const char *name, bool make) {
    unsigned long hash = 5381;
    for (const char *p = name; *p; p++) hash = hash * 33 + (unsigned char)*p;
    struct blob **slot = &table[hash % BUCKETS];
    for (struct blob *b = *slot; b; b = b->next)
        if (!strcmp(b->name, name)) return b;
    if (!make) return NULL;
    struct blob *b = malloc(sizeof *b + strlen(name) + 1);
    if (!b) abort();
    strcpy(b->name, name);
    b->staged = 0;
    b->committed = -1;
    b->next = *slot;
    return *slot = b;
}

static void forget_all(void) {
    pthread_mutex_lock(&table_lock);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct blob *b = table[i], *next; b; b = next) {
            next = b->next;
            free(b);
        }
        table[i] = NULL;
    }
    for (int i = 0; i < KIND_COUNT; i++) counts[i] = 0;
    body_bytes = connections = 0;
    pthread_mutex_unlock(&table_lock);
}

static bool answer(struct connection *c, const char *status, const char *headers, const char *body, bool is_head,
                   long long length) {
    char text[4096];
    if (length < 0) length = (long long)strlen(body);
    int size = snprintf(text, sizeof text,
                        "HTTP/1.1 %s\r\nContent-Length: %lld\r\nServer: sink\r\nx-ms-version: 2023-11-03\r\n"
                        "x-ms-request-id: 00000000-0000-0000-0000-000000000000\r\n"
                        "Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n%s\r\n%s",
                        status, length, headers, is_head ? "" : body);
    return size < (int)sizeof text && send_all(c, text, (size_t)size);
}

#define STAMP "ETag: \"0x8D000000000000\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
#define CREATED STAMP "x-ms-request-server-encrypted: true\r\n"

static const char *const EMPTY_LIST = "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs />"
                                      "<NextMarker /></EnumerationResults>";
static const char *const EMPTY_BLOCKS = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>"
                                        "<CommittedBlocks /><UncommittedBlocks /></BlockList>";

static bool blob_request(struct connection *c, const char *method, const char *path, const char *query,
                         long long length) {
    bool put = !strcmp(method, "PUT"), head = !strcmp(method, "HEAD");
    enum kind kind = OTHER;
    if (strstr(query, "comp=blocklist")) kind = put ? PUT_BLOCK_LIST : GET_BLOCK_LIST;
    else if (put && strstr(query, "comp=block")) kind = PUT_BLOCK;
    else if (put && !strstr(query, "comp=")) kind = PUT_BLOB; /* what else the query holds is a SAS */
    else if (head) kind = HEAD_BLOB;
    counts[kind]++;
    pthread_mutex_lock(&table_lock);
    struct blob *b = find(path, put);
    if (kind == PUT_BLOCK) b->staged += length;
    if (kind == PUT_BLOCK_LIST) b->committed = b->staged;
    if (kind == PUT_BLOB) b->committed = length;
    long long committed = b ? b->committed : -1;
    bool known = b != NULL;
    pthread_mutex_unlock(&table_lock);
    if (kind == PUT_BLOCK || kind == PUT_BLOCK_LIST || kind == PUT_BLOB)
        return answer(c, "201 Created", CREATED, "", false, -1);
    if (kind == GET_BLOCK_LIST && known)
        return answer(c, "200 OK", "Content-Type: application/xml\r\n", EMPTY_BLOCKS, false, -1);
    if (!strcmp(method, "DELETE")) return answer(c, "202 Accepted", "", "", false, -1);
    if (head && committed >= 0)
        return answer(c, "200 OK",
                      STAMP "x-ms-blob-type: BlockBlob\r\nx-ms-creation-time: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
                            "Content-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\n"
                            /* Not kept: whoever looks whether his metadata has arrived finds one name of it. */
                            "x-ms-meta-s3_etag: 0\r\n",
                      "", true, committed);
    if (put) return answer(c, "200 OK", STAMP, "", false, -1);
    return answer(c, "404 The specified blob does not exist.", "x-ms-error-code: BlobNotFound\r\n", "", head, -1);
}

static bool respond(struct connection *c, const char *method, const char *path, const char *query, long long length) {
    if (!strcmp(path, "/__reset")) {
        forget_all();
        return answer(c, "200 OK", "", "", false, -1);
    }
    if (!strcmp(path, "/__stats")) {
        char text[1024];
        int at = snprintf(text, sizeof text, "{\"bytes\": %lld, \"connections\": %lld", (long long)body_bytes,
                          (long long)connections);
        for (int i = 0; i < KIND_COUNT; i++)
            at += snprintf(text + at, sizeof text - (size_t)at, ", \"%s\": %lld", KINDS[i], (long long)counts[i]);
        snprintf(text + at, sizeof text - (size_t)at, "}");
        return answer(c, "200 OK", "Content-Type: application/json\r\n", text, false, -1);
    }
    if (latency_ms) sleep_s((double)latency_ms / 1e3);
    /* /account/container/blob: two slashes more than the first make a blob. */
    const char *container = strchr(path + 1, '/');
    const char *blob = container ? strchr(container + 1, '/') : NULL;
    if (blob && blob[1]) return blob_request(c, method, path, query, length);
    counts[strstr(query, "comp=list") ? LIST : OTHER]++;
    bool head = !strcmp(method, "HEAD");
    if (strstr(query, "comp=list"))
        return answer(c, "200 OK", "Content-Type: application/xml\r\n", EMPTY_LIST, head, -1);
    if (!strcmp(method, "PUT")) return answer(c, "201 Created", STAMP, "", false, -1);
    return answer(c, "200 OK", STAMP "x-ms-lease-state: available\r\nx-ms-has-immutability-policy: false\r\n", "", head, -1);
}

/* Answer one request; false ends the connection. */
static bool serve_one(struct connection *c) {
    char *end;
    if (c->start == c->end) c->start = c->end = 0;
    while (!(end = memmem(c->buffer + c->start, c->end - c->start, "\r\n\r\n", 4))) {
        if (c->start) {
            memmove(c->buffer, c->buffer + c->start, c->end - c->start);
            c->end -= c->start;
            c->start = 0;
        }
        if (c->end == BUFFER) return false;
        ssize_t got = receive(c, c->buffer + c->end, BUFFER - c->end);
        if (got <= 0) return false;
        c->end += (size_t)got;
    }
    *end = 0;
    char *save, *line = strtok_r(c->buffer + c->start, "\r\n", &save);
    char method[16], target[8192];
    if (!line || sscanf(line, "%15s %8191s", method, target) != 2) return false;
    long long length = 0;
    bool waits = false;
    while ((line = strtok_r(NULL, "\r\n", &save))) {
        if (!strncasecmp(line, "content-length:", 15)) length = atoll(line + 15);
        else if (!strncasecmp(line, "expect:", 7)) waits = true;
        else if (!strncasecmp(line, "transfer-encoding:", 18)) {
            answer(c, "501 Not Implemented", "Connection: close\r\n", "", false, -1);
            return false;
        }
    }
    c->start = (size_t)(end + 4 - c->buffer);
    if (waits && !send_all(c, "HTTP/1.1 100 Continue\r\n\r\n", 25)) return false;
    if (!drop_body(c, length)) return false;
    char *query = strchr(target, '?');
    if (query) *query++ = 0;
    return respond(c, method, target, query ? query : "", length);
}

static void *serve(void *argument) {
    struct connection *c = argument;
    connections++;
#ifdef WITH_TLS
    if (tls) {
        c->ssl = SSL_new(tls);
        SSL_set_fd(c->ssl, c->fd);
        if (SSL_accept(c->ssl) != 1) goto done;
    }
#endif
    while (serve_one(c)) {}
#ifdef WITH_TLS
done:
    if (c->ssl) SSL_free(c->ssl);
#endif
    close(c->fd);
    free(c);
    return NULL;
}

int main(int count, char **arguments) {
    if (count < 2) return 2;
    for (int i = 2; i < count; i++) {
        if (!strcmp(arguments[i], "--latency-ms") && i + 1 < count) latency_ms = atol(arguments[++i]);
        else if (!strcmp(arguments[i], "--bytes-per-s") && i + 1 < count) bytes_per_s = atol(arguments[++i]);
#ifdef WITH_TLS
        else if (!strcmp(arguments[i], "--tls") && i + 3 < count) {
            tls = SSL_CTX_new(TLS_server_method());
            if (SSL_CTX_set_ciphersuites(tls, arguments[i + 3]) != 1 || SSL_CTX_use_certificate_chain_file(tls, arguments[i + 1]) != 1 ||
                SSL_CTX_use_PrivateKey_file(tls, arguments[i + 2], SSL_FILETYPE_PEM) != 1) {
                ERR_print_errors_fp(stderr);
                return 1;
            }
            SSL_CTX_set_read_ahead(tls, 1);
            i += 3;
        }
#endif
        else {
            fprintf(stderr, "sink: unknown argument %s\n", arguments[i]);
            return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(arguments[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
        perror("sink");
        return 1;
    }
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct connection *c = malloc(sizeof *c);
        if (!c) abort();
        memset(c, 0, offsetof(struct connection, buffer));
        c->fd = fd;
        pthread_t thread;
        if (pthread_create(&thread, &small, serve, c)) {
            close(fd);
            free(c);
        }
    }
}
