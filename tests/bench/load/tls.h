/* The phones' side of TLS, over a socket that is connected; the server's certificate is not verified. */
#include <openssl/ssl.h>

static SSL_CTX *tls_context;

static void tls_begin(void) {
    tls_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(tls_context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(tls_context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(tls_context, SSL_SESS_CACHE_OFF);
}

/* The handshake; the socket still blocks. NULL where it fails. */
static SSL *tls_open(int fd) {
    SSL *tls = SSL_new(tls_context);
    if (tls && SSL_set_fd(tls, fd) == 1 && SSL_connect(tls) == 1) return tls;
    SSL_free(tls);
    return NULL;
}

/* As recv(2) is: -1 and EAGAIN where nothing waits. */
static ssize_t tls_receive(SSL *tls, void *room, int size) {
    int n = SSL_read(tls, room, size);
    if (n > 0) return n;
    errno = EAGAIN;
    return SSL_get_error(tls, n) == SSL_ERROR_WANT_READ ? -1 : 0;
}
