package ledger_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"testing"

	"tweetledger/ledger"
)

// The keys are what openssl 3 writes for the seed of 32 sevens.
const (
	privatePEM = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH
-----END PRIVATE KEY-----
`
	publicPEM = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=
-----END PUBLIC KEY-----
`
)

func TestKeysAreWrittenAndRead(t *testing.T) {
	key := signingKey(t, 7)
	private, err := ledger.EncodeSigningKey(key)
	if err != nil || string(private) != privatePEM {
		t.Errorf("got %s, %v", private, err)
	}
	if back, err := ledger.ParseSigningKey(private); err != nil || !back.Equal(key) {
		t.Errorf("the private key comes back as another, %v", err)
	}
	own, _ := key.Public().(ed25519.PublicKey)
	public, err := ledger.EncodePublicKey(own)
	if err != nil || string(public) != publicPEM {
		t.Errorf("got %s, %v", public, err)
	}
	if back, err := ledger.ParsePublicKey([]byte("A comment.\n" + publicPEM)); err != nil || !back.Equal(own) {
		t.Errorf("the public key comes back as another, %v", err)
	}
	if id := ledger.KeyID(own); len(id) != 16 || id == ledger.KeyID(signingKey(t, 8).Public().(ed25519.PublicKey)) {
		t.Errorf("the id is %s", id)
	}
}

func TestKeysThatAreNone(t *testing.T) {
	exchange, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	foreignPrivate, err := x509.MarshalPKCS8PrivateKey(exchange)
	if err != nil {
		t.Fatal(err)
	}
	foreignPublic, err := x509.MarshalPKIXPublicKey(exchange.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for name, c := range map[string]struct{ private, public string }{
		"nothing":          {"", ""},
		"no PEM":           {"secret", "secret"},
		"exchanged":        {publicPEM, privatePEM},
		"another block":    {block("EC PRIVATE KEY", nil), block("CERTIFICATE", nil)},
		"rubbish inside":   {block("PRIVATE KEY", []byte("secret")), block("PUBLIC KEY", []byte("secret"))},
		"of another kind":  {block("PRIVATE KEY", foreignPrivate), block("PUBLIC KEY", foreignPublic)},
		"twice":            {privatePEM + privatePEM, publicPEM + publicPEM},
		"public behind it": {privatePEM + publicPEM, publicPEM + privatePEM},
		"long":             {privatePEM + strings.Repeat(" ", 1<<14), publicPEM + strings.Repeat(" ", 1<<14)},
	} {
		_, err := ledger.ParseSigningKey([]byte(c.private))
		wantField(t, "private: "+name, err, "key")
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("private: %s: %v repeats what it read", name, err)
		}
		_, err = ledger.ParsePublicKey([]byte(c.public))
		wantField(t, "public: "+name, err, "key")
	}
	_, err = ledger.EncodeSigningKey(nil)
	wantField(t, "no private key", err, "key")
	_, err = ledger.EncodePublicKey(nil)
	wantField(t, "no public key", err, "public_key")
	if _, err := ledger.NewSigningKey(bytes.NewReader(make([]byte, 31))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("too little randomness: %v", err)
	}
}
