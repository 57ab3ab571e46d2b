package ledger

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
)

// maxKeyFile bounds the text of a key: one of Ed25519 takes about 120 bytes,
// comments before it a few more.
const maxKeyFile = 16 << 10

const (
	privateKeyBlock = "PRIVATE KEY" // PKCS #8
	publicKeyBlock  = "PUBLIC KEY"  // PKIX
)

// NewSigningKey makes a key to sign heads with from 32 bytes of random, which
// must be crypto/rand's outside of tests.
func NewSigningKey(random io.Reader) (ed25519.PrivateKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// EncodeSigningKey writes a private key as PEM (PKCS #8), as openssl does.
func EncodeSigningKey(key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, Errorf(CodeInvalid, "a private key of Ed25519 has %d bytes, not %d", ed25519.PrivateKeySize, len(key)).InField("key")
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("write a signing key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: privateKeyBlock, Bytes: der}), nil
}

// ParseSigningKey reads a private key of Ed25519 from PEM (PKCS #8). No error
// repeats what it read.
func ParseSigningKey(text []byte) (ed25519.PrivateKey, error) {
	der, err := keyBlock(text, privateKeyBlock)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, Errorf(CodeInvalid, "the PEM block is not a private key in PKCS #8").InField("key")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, Errorf(CodeInvalid, "the private key is not one of Ed25519").InField("key")
	}
	return key, nil
}

// EncodePublicKey writes a public key as PEM, to be handed to who verifies.
func EncodePublicKey(key ed25519.PublicKey) ([]byte, error) {
	if err := checkPublicKey(key); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("write a public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicKeyBlock, Bytes: der}), nil
}

// ParsePublicKey reads a public key of Ed25519 from PEM.
func ParsePublicKey(text []byte) (ed25519.PublicKey, error) {
	der, err := keyBlock(text, publicKeyBlock)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, Errorf(CodeInvalid, "the PEM block is not a public key").InField("key")
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, Errorf(CodeInvalid, "the public key is not one of Ed25519").InField("key")
	}
	return key, nil
}

// KeyID names a public key in a few digits, for people and logs: the beginning of
// its SHA-256. It identifies; it does not protect.
func KeyID(key ed25519.PublicKey) string {
	hash := sha256.Sum256(key)
	return hex.EncodeToString(hash[:8])
}

func checkPublicKey(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return Errorf(CodeInvalid, "a public key of Ed25519 has %d bytes, not %d", ed25519.PublicKeySize, len(key)).InField("public_key")
	}
	return nil
}

// keyBlock returns the content of the only PEM block of text.
func keyBlock(text []byte, kind string) ([]byte, error) {
	if len(text) > maxKeyFile {
		return nil, Errorf(CodeInvalid, "a key has at most %d bytes, not %d", maxKeyFile, len(text)).InField("key")
	}
	block, rest := pem.Decode(text)
	switch another, _ := pem.Decode(rest); {
	case block == nil:
		return nil, Errorf(CodeInvalid, "this is no PEM; a key begins with -----BEGIN %s-----", kind).InField("key")
	case block.Type != kind:
		return nil, Errorf(CodeInvalid, "the PEM block is a %q; a %q is needed", Clip(block.Type), kind).InField("key")
	case another != nil:
		return nil, Errorf(CodeInvalid, "there are several PEM blocks; leave the one of the key").InField("key")
	}
	return block.Bytes, nil
}
