// SPDX-License-Identifier: Apache-2.0
// Expectations as JSON. Included by execmodes.c only.

static uint64_t fnv1a(uint64_t hash, const char *data, size_t size) {
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)data[i]) * 0x100000001b3ull;
    return hash;
}

static void print_base64(const char *arg) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t size = strlen(arg);
    putchar('"');
    for (size_t i = 0; i < size; i += 3) {
        uint32_t three = 0;
        for (size_t j = 0; j < 3; j++) three = three << 8 | (i + j < size ? (unsigned char)arg[i + j] : 0);
        for (size_t j = 0; j < 4; j++) putchar(i + j > size ? '=' : digits[three >> (18 - 6 * j) & 63]);
    }
    putchar('"');
}

// Up to 4 KiB of arguments are told in full; above that their count, bytes and FNV-1a, each argument with its NUL.
static void print_args(const struct expect *e) {
    size_t bytes = 0;
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < e->count; i++) {
        size_t size = strlen(e->args[i]) + 1;
        hash = fnv1a(hash, e->args[i], size);
        bytes += size;
    }
    printf(",\"args_count\":%zu,\"args_bytes\":%zu,\"args_fnv1a\":\"%016llx\"", e->count, bytes, (unsigned long long)hash);
    if (bytes > BASE64_LIMIT) return;
    printf(",\"args\":[");
    for (size_t i = 0; i < e->count; i++) {
        if (i) putchar(',');
        print_base64(e->args[i]);
    }
    putchar(']');
}

static void print_expect(const struct expect *e) {
    printf("{\"action\":\"%s\"", e->action);
    print_args(e);
    if (e->executable[0]) printf(",\"executable\":\"%s\"", e->executable);
    if (e->error) printf(",\"errno\":\"%s\"", e->error);
    if (e->env[0]) printf(",\"env\":\"%s\"", e->env);
    putchar('}');
    if (!e->exits) return;
    // The exit belongs to the program just told, so it names no arguments of its own.
    if (e->signal) printf(",{\"action\":\"exit\",\"signal\":\"%s\"}", e->signal);
    else printf(",{\"action\":\"exit\",\"exit_code\":%d}", e->exit_code);
}
