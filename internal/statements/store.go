package statements

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Issued is a statement's place in the book.
type Issued struct {
	ID       uuid.UUID
	PayeeID  uuid.UUID
	IssuedBy string
	Signed       // without Lines where it is one of a list
	Count    int // of its lines
}

const statementColumns = `id, payee_id, number, issuer, payee_code, payee_name, from_date, to_date, currency, opening, debits, credits, closing, lines,
	issued_at, issued_by, before, digest, public_key, signature`

// stored is a row of donation_statements.
type stored struct {
	Issued
	debits, credits ledger.Amount // of its lines
	digest          []byte
}

func scanStatement(rows *sqldb.Rows) (stored, error) {
	var s stored
	var before, key []byte
	err := rows.Scan(&s.ID, &s.PayeeID, &s.Number, &s.Issuer, &s.Payee, &s.Name, &s.From, &s.To, &s.Currency, &s.Opening, &s.debits, &s.credits, &s.Closing, &s.Count,
		&s.IssuedAt, &s.IssuedBy, &before, &s.digest, &key, &s.Signature)
	copy(s.Before[:], before)
	s.PublicKey = key
	return s, err
}

// Filter selects a page of statements, by payee and number.
type Filter struct {
	PayeeID     uuid.UUID // zero: of all payees
	AfterPayee  uuid.UUID // with AfterNumber: the last one seen
	AfterNumber int64
	Limit       int // 1 to MaxPage
}

// MaxPage bounds a page of a list.
const MaxPage = 1_000

// List returns a page of statements without their lines.
func List(ctx context.Context, tx *sqldb.Tx, f Filter) ([]Issued, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var q sqldb.Where
	if f.PayeeID != uuid.Nil {
		q.And("payee_id = ?", f.PayeeID)
	}
	if f.AfterNumber != 0 {
		q.And("payee_id >= ? AND (payee_id > ? OR number > ?)", f.AfterPayee, f.AfterPayee, f.AfterNumber)
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT %s FROM donation_statements%s ORDER BY payee_id, number LIMIT %d", statementColumns, q.Clause(), f.Limit),
		q.Args, func(rows *sqldb.Rows) (Issued, error) {
			s, err := scanStatement(rows)
			return s.Issued, err
		})
	if err != nil {
		return nil, fmt.Errorf("list statements: %w", err)
	}
	return list, nil
}

// Find returns a payee's statement with its lines as they were signed, or
// CodeNotFound. Where the book has something else now, it is an error.
func Find(ctx context.Context, tx *sqldb.Tx, payeeID uuid.UUID, number int64) (Issued, error) {
	list, err := headers(ctx, tx, "payee_id = $1 AND number = $2", payeeID, number)
	if err != nil {
		return Issued{}, err
	}
	if len(list) == 0 {
		return Issued{}, ledger.Errorf(ledger.CodeNotFound, "statement %d has not been issued", number)
	}
	return list[0].whole(ctx, tx)
}

// headers returns the statements that meet a condition, without their lines.
func headers(ctx context.Context, tx *sqldb.Tx, condition string, args ...any) ([]stored, error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT "+statementColumns+" FROM donation_statements WHERE "+condition+" ORDER BY number", args, scanStatement)
	if err != nil {
		return nil, fmt.Errorf("find statements: %w", err)
	}
	return list, nil
}

// whole reads the lines of a statement, and makes sure that it is what was signed.
func (s stored) whole(ctx context.Context, tx *sqldb.Tx) (Issued, error) {
	var err error
	s.Lines, err = sqldb.Collect(ctx, tx, `SELECT effective_date, transaction_id, posting, entry, reference, donor, end_to_end_id, payout_state,
			settled_on, bank_reference, return_reason, amount FROM donation_statement_lines WHERE statement_id = $1 ORDER BY ordinal`, []any{s.ID},
		func(rows *sqldb.Rows) (l Line, err error) {
			err = rows.Scan(&l.Date, &l.TransactionID, &l.Posting, &l.Entry, &l.Reference, &l.Donor, &l.EndToEndID, &l.PayoutState,
				&l.SettledOn, &l.BankReference, &l.ReturnReason, &l.Amount)
			return l, err
		})
	if err != nil {
		return Issued{}, fmt.Errorf("read the lines of statement %d: %w", s.Number, err)
	}
	if digest := s.Digest(); string(s.digest) != string(digest[:]) {
		return Issued{}, fmt.Errorf("statement %d of %s is not what was issued any more: somebody has changed it past the ledger", s.Number, s.Payee)
	}
	if err := s.Verify(nil); err != nil {
		return Issued{}, fmt.Errorf("statement %d of %s in the book: %w", s.Number, s.Payee, err)
	}
	return s.Issued, nil
}

var statementTable = []sqldb.Column{
	{Name: "id", Type: "uuid"}, {Name: "payee_id", Type: "uuid"}, {Name: "number", Type: "int8"}, {Name: "issuer", Type: "text"},
	{Name: "payee_code", Type: "text"}, {Name: "payee_name", Type: "text"}, {Name: "from_date", Type: "date"}, {Name: "to_date", Type: "date"},
	{Name: "currency", Type: "text"}, {Name: "opening", Type: "int8"}, {Name: "debits", Type: "int8"},
	{Name: "credits", Type: "int8"}, {Name: "closing", Type: "int8"}, {Name: "lines", Type: "int8"},
	{Name: "issued_at", Type: "timestamptz"}, {Name: "issued_by", Type: "text"}, {Name: "before", Type: "bytea"}, {Name: "digest", Type: "bytea"},
	{Name: "public_key", Type: "bytea"}, {Name: "signature", Type: "bytea"},
}

var lineTable = []sqldb.Column{
	{Name: "payee_id", Type: "uuid"}, {Name: "effective_date", Type: "date"}, {Name: "transaction_id", Type: "uuid"}, {Name: "posting", Type: "int8"},
	{Name: "statement_id", Type: "uuid"}, {Name: "ordinal", Type: "int8"}, {Name: "entry", Type: "text"}, {Name: "reference", Type: "text"},
	{Name: "donor", Type: "text"}, {Name: "end_to_end_id", Type: "text"}, {Name: "payout_state", Type: "text"}, {Name: "settled_on", Type: "date"},
	{Name: "bank_reference", Type: "text"}, {Name: "return_reason", Type: "text"}, {Name: "amount", Type: "int8"},
}

func insert(ctx context.Context, tx *sqldb.Tx, s Issued) error {
	digest := s.Digest()
	debits, credits := s.turnover()
	var before any
	if s.Number > 1 {
		before = s.Before[:]
	}
	err := tx.Insert(ctx, "donation_statements", statementTable, 1, func(int) []any {
		return []any{s.ID, s.PayeeID, s.Number, s.Issuer, s.Payee, s.Name, s.From, s.To, string(s.Currency), int64(s.Opening), int64(debits), int64(credits), int64(s.Closing),
			int64(len(s.Lines)), s.IssuedAt, s.IssuedBy, before, digest[:], []byte(s.PublicKey), s.Signature}
	})
	if err != nil {
		return fmt.Errorf("store statement %d: %w", s.Number, err)
	}
	err = tx.Insert(ctx, "donation_statement_lines", lineTable, len(s.Lines), func(i int) []any {
		l := s.Lines[i]
		return []any{s.PayeeID, l.Date, l.TransactionID, int64(l.Posting), s.ID, int64(i + 1), l.Entry, l.Reference, l.Donor, l.EndToEndID,
			l.PayoutState, l.SettledOn, l.BankReference, l.ReturnReason, int64(l.Amount)}
	})
	if err != nil {
		return fmt.Errorf("store the lines of statement %d: %w", s.Number, err)
	}
	return nil
}
