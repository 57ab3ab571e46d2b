package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Checkpoint is how far a run of VerifyBook has come with what is sealed. It can
// be kept as JSON. It trusts what the run had verified before.
type Checkpoint struct {
	Format       string        `json:"format"` // checkpointFormat
	Began        []ledger.Head `json:"began"`  // the ends of the chains when the run began
	LastPage     int64         `json:"last_page"`
	Transactions int64         `json:"transactions"`
	Postings     int64         `json:"postings"`
	Totals       []Total       `json:"totals"`
	Differences  []Difference  `json:"differences"`
	More         int64         `json:"more"`
}

// Total is what was posted to an account by its number, in minor units.
type Total struct {
	AccountNo int64         `json:"no"`
	Debits    ledger.Amount `json:"debits"`
	Credits   ledger.Amount `json:"credits"`
}

const checkpointFormat = "tweetledger verify 1"

func (v *verifier) checkpoint() Checkpoint {
	c := Checkpoint{Format: checkpointFormat, Began: v.began, LastPage: v.lastPage, Transactions: v.report.Transactions,
		Postings: v.report.Postings, Differences: slices.Clone(v.report.Differences), More: v.report.More}
	for _, no := range slices.Sorted(maps.Keys(v.accounts)) {
		if a := v.accounts[no]; !a.total.isZero() {
			c.Totals = append(c.Totals, Total{no, a.total.debitsPosted, a.total.creditsPosted})
		}
	}
	return c
}

// MaxCheckpoint bounds the file of a checkpoint, in bytes: a million accounts take
// half.
const MaxCheckpoint = 128 << 20

// checkpointFile is a checkpoint as it is kept: with its SHA-256, so that what was
// cut off or edited is told.
type checkpointFile struct {
	SHA256     string          `json:"sha256"`
	Checkpoint json.RawMessage `json:"checkpoint"`
}

// Encode writes c as a file.
func (c Checkpoint) Encode() ([]byte, error) {
	content, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("write a checkpoint: %w", err)
	}
	sum := sha256.Sum256(content)
	text, err := json.Marshal(checkpointFile{SHA256: hex.EncodeToString(sum[:]), Checkpoint: content})
	if err != nil {
		return nil, fmt.Errorf("write a checkpoint: %w", err)
	}
	return text, nil
}

// ParseCheckpoint reads what Encode writes. The error is an Error with CodeInvalid.
func ParseCheckpoint(text []byte) (Checkpoint, error) {
	if len(text) > MaxCheckpoint {
		return Checkpoint{}, ledger.Errorf(ledger.CodeInvalid, "a checkpoint of verify has at most %d bytes", MaxCheckpoint)
	}
	var file checkpointFile
	var c Checkpoint
	err := json.Unmarshal(text, &file)
	if sum := sha256.Sum256(file.Checkpoint); err != nil || file.SHA256 != hex.EncodeToString(sum[:]) || json.Unmarshal(file.Checkpoint, &c) != nil {
		return Checkpoint{}, ledger.Errorf(ledger.CodeInvalid, "this is no checkpoint of verify, or it was changed; remove it to begin again")
	}
	return c, nil
}

// belongs checks that the chains of the book lead through the heads with which the
// run of a checkpoint began.
func (v *verifier) belongs(ctx context.Context, c Checkpoint) error {
	for _, h := range c.Began {
		var link []byte
		err := v.tx.QueryRow(ctx, "SELECT link FROM seals WHERE journal = $1 AND fiscal_year = $2 AND first_number <= $3 AND last_number = $3",
			[]any{h.Journal, int64(h.FiscalYear), h.Number}, &link)
		if err != nil && !sqldb.IsNoRows(err) {
			return err
		}
		if !bytes.Equal(link, h.Link[:]) {
			return ledger.Errorf(ledger.CodeInvalid, "the checkpoint is of another book, or the chain of journal %s of %d was changed up to entry %d since; remove it to begin again",
				ledger.Clip(h.Journal), h.FiscalYear, h.Number)
		}
	}
	return nil
}

// resume goes on from a checkpoint.
func (v *verifier) resume(ctx context.Context, c Checkpoint) error {
	if c.Format != checkpointFormat {
		return ledger.Errorf(ledger.CodeInvalid, "%q is not a checkpoint of verify; begin again without it", ledger.Clip(c.Format)).InField("format")
	}
	if err := v.belongs(ctx, c); err != nil {
		return err
	}
	v.began, v.lastPage = c.Began, c.LastPage
	v.report.Transactions, v.report.Postings = c.Transactions, c.Postings
	v.report.Differences, v.report.More = c.Differences, c.More
	for _, t := range c.Totals {
		a, ok := v.accounts[t.AccountNo]
		if !ok {
			return ledger.Errorf(ledger.CodeInvalid, "the checkpoint knows an account with number %d and the book does not; begin again without it", t.AccountNo).InField("totals")
		}
		a.total = delta{debitsPosted: t.Debits, creditsPosted: t.Credits}
	}
	return nil
}

// verifierState is what a transaction that begins again has to find as it was.
type verifierState struct {
	report   Report
	lastPage int64
	totals   map[int64]delta
}

func (v *verifier) state() verifierState {
	s := verifierState{report: *v.report, lastPage: v.lastPage, totals: make(map[int64]delta, len(v.accounts))}
	s.report.Differences = slices.Clone(v.report.Differences)
	for no, a := range v.accounts {
		s.totals[no] = a.total
	}
	return s
}

func (v *verifier) restore(s verifierState) {
	*v.report, v.lastPage = s.report, s.lastPage
	v.report.Differences = slices.Clone(s.report.Differences)
	for no, a := range v.accounts {
		a.total = s.totals[no]
	}
}
