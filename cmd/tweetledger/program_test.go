package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"tweetledger/ledger"
)

func TestProgramName(t *testing.T) {
	for executable, want := range map[string]string{
		"/home/anne/go/bin/tweetledger":                  "tweetledger",
		"/tmp/go-build2218394112/b001/exe/tweetledger":   "go run ./cmd/tweetledger",
		"/home/anne/.cache/go-build/ab/ab12/tweetledger": "go run ./cmd/tweetledger",
		"": "tweetledger",
	} {
		if got := programName(executable); got != want {
			t.Errorf("%q: %q, want %q", executable, got, want)
		}
	}
}

// TestDigestOfHeadsIsAsDocumented makes the digest from the file alone, in the way
// that docs/operations.md tells auditors.
func TestDigestOfHeadsIsAsDocumented(t *testing.T) {
	heads := ledger.Heads{Book: "smoney", At: time.Date(2026, time.November, 23, 8, 0, 0, 120_000, time.UTC), List: []ledger.Head{
		{Journal: "VIR", FiscalYear: 2026, Number: 17, Link: sha256.Sum256([]byte("a"))},
		{Journal: "OD", FiscalYear: 2025, Number: 3, Link: sha256.Sum256([]byte("b"))},
	}}
	signed, err := heads.Sign(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	document, err := signed.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Format, Book, Digest string
		At                   time.Time
		Heads                []struct {
			Journal, Link string
			FiscalYear    uint64 `json:"fiscal_year"`
			Number        uint64
		}
	}
	if err := json.Unmarshal(document, &file); err != nil {
		t.Fatal(err)
	}
	var said []byte
	number := func(n uint64) { said = binary.BigEndian.AppendUint64(said, n) }
	text := func(s string) {
		number(uint64(len(s)))
		said = append(said, s...)
	}
	text("tweetledger heads 1")
	text(file.Book)
	number(uint64(file.At.UnixMicro()))
	number(uint64(len(file.Heads)))
	for _, head := range file.Heads {
		text(head.Journal)
		number(head.FiscalYear)
		number(head.Number)
		link, err := hex.DecodeString(head.Link)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, link...)
	}
	if got := sha256.Sum256(said); hex.EncodeToString(got[:]) != file.Digest || file.Format != "tweetledger heads 1" {
		t.Errorf("the digest of %s is %x by the documentation", document, got)
	}
}
