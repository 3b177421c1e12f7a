// SHA-256 and Ed25519 where CryptoKit does not exist.
#pragma once
#include <openssl/evp.h>
