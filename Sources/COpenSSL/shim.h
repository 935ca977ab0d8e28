// What OpenSSL offers as macros, which Swift does not see.
#pragma once
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdint.h>

static inline long copenssl_set_min_version(SSL_CTX *context, int version) { return SSL_CTX_set_min_proto_version(context, version); }
static inline void copenssl_refuse_renegotiation(SSL_CTX *context) { SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION); }
static inline long copenssl_set_mode(SSL_CTX *context, long mode) { return SSL_CTX_set_mode(context, mode); }
static inline long copenssl_set_read_ahead(SSL_CTX *context, long on) { return SSL_CTX_set_read_ahead(context, on); }
static inline long copenssl_set_session_cache_mode(SSL_CTX *context, long mode) { return SSL_CTX_set_session_cache_mode(context, mode); }
static inline long copenssl_on_server_name(SSL_CTX *context, int (*callback)(SSL *, int *, void *), void *argument) {
    SSL_CTX_set_tlsext_servername_callback(context, callback);
    return SSL_CTX_set_tlsext_servername_arg(context, argument);
}
static inline int copenssl_set_app_data(SSL_CTX *context, void *data) { return SSL_CTX_set_app_data(context, data); }
static inline void *copenssl_app_data(SSL *ssl) { return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)); }

// How many handshake messages a peer may send in a connection's life, and how many alerts it may have: a handshake is six at
// most, and what a peer sends of them afterwards (KeyUpdate, RFC 8446 §4.6.3, or attempts at renegotiation) costs a computation
// each and brings it nothing. An honest peer updates its keys after some 2^24 records (§5.5).
#define COPENSSL_MESSAGES 40

static inline void copenssl_count_message(int sent, int version, int type, const void *bytes, size_t count, SSL *ssl, void *argument) {
    (void)version, (void)bytes, (void)count, (void)argument;
    if (type != (sent ? SSL3_RT_ALERT : SSL3_RT_HANDSHAKE)) return;
    uintptr_t messages = (uintptr_t)SSL_get_app_data(ssl) + 1;
    SSL_set_app_data(ssl, (void *)messages);
    // Nothing more is read from a connection that is shut down.
    if (messages > COPENSSL_MESSAGES) SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}
static inline void copenssl_limit_messages(SSL_CTX *context) { SSL_CTX_set_msg_callback(context, copenssl_count_message); }
static inline int copenssl_has_exceeded_messages(SSL *ssl) { return (uintptr_t)SSL_get_app_data(ssl) > COPENSSL_MESSAGES; }
