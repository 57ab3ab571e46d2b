package engine

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// SignHeads signs where the chains of the book end and keeps the document, so that
// it can be handed out later for its digest. Where the chains, the name of the book
// and the key are those of the last document, that one is returned: there is
// nothing new to say. It refuses with CodeNotFound where nothing is sealed yet.
func (e *Engine) SignHeads(ctx context.Context, tx *sqldb.Tx, book string, key ed25519.PrivateKey) (ledger.SignedHeads, error) {
	heads, err := e.Heads(ctx, tx)
	if err != nil {
		return ledger.SignedHeads{}, err
	}
	if len(heads.List) == 0 {
		return ledger.SignedHeads{}, ledger.Errorf(ledger.CodeNotFound, "nothing is sealed in this book yet, so there are no heads to sign")
	}
	heads.Book = book
	signed, err := heads.Sign(key)
	if err != nil {
		return ledger.SignedHeads{}, fmt.Errorf("sign the heads: %w", err)
	}
	last, err := lastSignedHeads(ctx, tx)
	if err != nil {
		return ledger.SignedHeads{}, err
	}
	if last.Book == signed.Book && last.PublicKey.Equal(signed.PublicKey) && slices.Equal(last.List, signed.List) {
		return last, nil
	}
	document, err := signed.Encode()
	if err != nil {
		return ledger.SignedHeads{}, err
	}
	digest := signed.Digest()
	_, err = tx.Exec(ctx, "INSERT INTO signed_heads (digest, signed_at, document) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING",
		digest, signed.At, string(document))
	if err != nil {
		return ledger.SignedHeads{}, fmt.Errorf("keep the signed heads: %w", err)
	}
	return signed, nil
}

// lastSignedHeads returns the document that was signed last; an empty one where
// there is none.
func lastSignedHeads(ctx context.Context, tx *sqldb.Tx) (ledger.SignedHeads, error) {
	var document string
	err := tx.QueryRow(ctx, "SELECT document FROM signed_heads ORDER BY signed_at DESC, digest LIMIT 1", nil, &document)
	if sqldb.IsNoRows(err) {
		return ledger.SignedHeads{}, nil
	}
	if err != nil {
		return ledger.SignedHeads{}, fmt.Errorf("read the last signed heads: %w", err)
	}
	signed, err := ledger.ParseSignedHeads([]byte(document))
	if err != nil {
		return ledger.SignedHeads{}, fmt.Errorf("the last signed heads in the book: %w", err)
	}
	return signed, nil
}

// FindSignedHeads returns the document with a digest, or CodeNotFound.
func FindSignedHeads(ctx context.Context, tx *sqldb.Tx, digest [sha256.Size]byte) (ledger.SignedHeads, error) {
	var document string
	err := tx.QueryRow(ctx, "SELECT document FROM signed_heads WHERE digest = $1", []any{digest}, &document)
	if sqldb.IsNoRows(err) {
		return ledger.SignedHeads{}, ledger.Errorf(ledger.CodeNotFound, "this book has signed no heads with the digest %x", digest)
	}
	if err != nil {
		return ledger.SignedHeads{}, fmt.Errorf("find the signed heads %x: %w", digest, err)
	}
	return ledger.ParseSignedHeads([]byte(document))
}
