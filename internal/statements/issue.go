package statements

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
)

// Options of a Service. The zero value is ready for use.
type Options struct {
	Log    *slog.Logger // nil discards
	Random io.Reader    // for ids; nil is crypto/rand
}

// Service issues statements. It is safe for concurrent use, by any number of
// processes on one database.
type Service struct {
	engine    *engine.Engine
	donations reports.DonationSource
	issuer    string
	log       *slog.Logger
	random    io.Reader
}

// New makes the service. issuer is the name that statements come from.
func New(e *engine.Engine, donations reports.DonationSource, issuer string, o Options) (*Service, error) {
	if !ledger.Printable(issuer, maxName) {
		return nil, ledger.Errorf(ledger.CodeInvalid, "statements need the name that they come from, at most %d bytes", maxName).InField("issuer")
	}
	s := &Service{engine: e, donations: donations, issuer: issuer, log: o.Log, random: o.Random}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.random == nil {
		s.random = rand.Reader
	}
	return s, nil
}

// Request asks for a payee's next statement.
type Request struct {
	Payee string // code
	// To is the last day of the period, which is over; zero: that of the month in
	// which the period begins. It begins on the day after the statement before or, for
	// the first one, with the month of the first entry.
	To    ledger.Date
	Key   ed25519.PrivateKey
	Actor string
}

// maxActor is in bytes.
const maxActor = 64

// Issue makes, numbers, freezes and signs the payee's next statement: every posting
// up to its last day that is on no statement yet. What was recorded later for days
// that had been stated is on it too, with its own date. Its opening is the closing
// of the statement before, and its closing what the ledger says on its last day;
// where that does not tie to the cent there is no statement.
//
// A day that is not over, or a period that has been stated, is CodeInvalid; a payee
// without an entry is CodeNotFound; where somebody else issues at the same time it is
// CodeConflict. Nothing is changed then.
func (s *Service) Issue(ctx context.Context, r Request) (Issued, error) {
	if !ledger.Printable(r.Actor, maxActor) {
		return Issued{}, ledger.Errorf(ledger.CodeInvalid, "say who does this, in 1 to %d bytes of printable text", maxActor).InField("actor")
	}
	id, err := uuid.NewRandomFromReader(s.random)
	if err != nil {
		return Issued{}, fmt.Errorf("make an id: %w", err)
	}
	now := s.engine.Now()
	var issued Issued
	err = s.engine.DB().WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		done, err := headers(ctx, tx, "id = $1", id)
		if err != nil {
			return err
		}
		if len(done) > 0 { // a commit whose fate was unknown did happen
			issued, err = done[0].whole(ctx, tx)
			return err
		}
		issued, err = s.make(ctx, tx, id, now, r)
		if err == nil {
			err = insert(ctx, tx, issued)
		}
		return err
	})
	if sqldb.ClassOf(err) == sqldb.ClassUnique {
		return Issued{}, ledger.Errorf(ledger.CodeConflict, "somebody else has just issued a statement of %s; look at it before the next one", ledger.Clip(r.Payee))
	}
	if err != nil {
		return Issued{}, fmt.Errorf("issue a statement of %s: %w", ledger.Clip(r.Payee), err)
	}
	s.log.InfoContext(ctx, "statement issued", "payee", issued.Payee, "number", issued.Number, "to", issued.To.String(), "lines", len(issued.Lines), "actor", r.Actor)
	return issued, nil
}

// make works the statement out.
func (s *Service) make(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, now time.Time, r Request) (Issued, error) {
	payee, err := payments.FindPayee(ctx, tx, r.Payee)
	if err != nil {
		return Issued{}, err
	}
	account, err := engine.FindAccount(ctx, tx, payee.AccountID)
	if err != nil {
		return Issued{}, err
	}
	made := Issued{ID: id, PayeeID: payee.ID, IssuedBy: r.Actor}
	made.Statement = Statement{Issuer: s.issuer, Payee: payee.Code, Name: payee.Name, Number: 1, To: r.To, Currency: account.Currency, IssuedAt: now}
	past, err := headers(ctx, tx, "payee_id = $1", payee.ID)
	if err != nil {
		return Issued{}, err
	}
	yesterday := ledger.DateIn(now, s.engine.Location()).AddDays(-1)
	stated := stated{tx: tx, payee: payee, past: past}
	start, err := stated.until(ctx, yesterday)
	if err != nil {
		return Issued{}, err
	}
	if n := len(past); n > 0 {
		before := past[n-1]
		made.Number, made.From, made.Opening, made.Before = before.Number+1, before.To.AddDays(1), before.Closing, [sha256.Size]byte(before.digest)
	} else {
		if start.IsZero() {
			return Issued{}, ledger.Errorf(ledger.CodeNotFound, "%s has no entry until yesterday, and so nothing to be stated", payee.Code)
		}
		made.From = ledger.Date{Year: start.Year, Month: start.Month, Day: 1}
	}
	if made.To.IsZero() {
		made.To = ledger.Date{Year: made.From.Year, Month: made.From.Month + 1}.AddDays(0) // day 0 is the last of the month before
	}
	switch {
	case made.To.Before(made.From):
		return Issued{}, ledger.Errorf(ledger.CodeInvalid, "%s has been stated until %s", payee.Code, made.From.AddDays(-1)).InField("to")
	case yesterday.Before(made.To):
		return Issued{}, ledger.Errorf(ledger.CodeInvalid, "the statement would go until %s, which is not over; issue it then, or one until an earlier day", made.To).InField("to")
	}
	if !start.IsZero() && !made.To.Before(start) {
		if err := s.addLines(ctx, tx, &made, start); err != nil {
			return Issued{}, err
		}
	}
	made.Closing = made.Opening
	for _, l := range made.Lines {
		if made.Closing, err = made.Closing.Add(l.Amount); err != nil {
			return Issued{}, err
		}
	}
	balance, err := engine.BalanceAsOf(ctx, tx, payee.AccountID, engine.AsOf{EffectiveDate: made.To})
	if err != nil {
		return Issued{}, err
	}
	if balance.Posted() != made.Closing {
		return Issued{}, fmt.Errorf("the statements of %s until %s come to %s, but the ledger has %s; run `tweetledger verify`",
			payee.Code, made.To, made.Closing.Format(made.Currency), balance.Posted().Format(made.Currency))
	}
	made.Count = len(made.Lines)
	made.Signed, err = made.Sign(r.Key)
	return made, err
}

// addLines adds what has been posted from a day on and is on no statement.
func (s *Service) addLines(ctx context.Context, tx *sqldb.Tx, made *Issued, start ledger.Date) error {
	account, err := reports.Donations(ctx, tx, s.donations, reports.DonationStatementParams{Payee: made.Payee, From: start, To: made.To})
	if err != nil {
		return err
	}
	type posting struct {
		transaction uuid.UUID
		ordinal     int
	}
	done := map[posting]bool{}
	err = tx.Each(ctx, "SELECT transaction_id, posting FROM donation_statement_lines WHERE payee_id = $1 AND effective_date >= $2",
		[]any{made.PayeeID, start}, func(rows *sqldb.Rows) error {
			var p posting
			err := rows.Scan(&p.transaction, &p.ordinal)
			done[p] = true
			return err
		})
	if err != nil {
		return fmt.Errorf("read what has been stated: %w", err)
	}
	for _, l := range account.Lines {
		if done[posting{l.TransactionID, l.Posting}] {
			continue
		}
		if len(made.Lines) == MaxLines {
			return ledger.Errorf(ledger.CodeInvalid, "the statement would have more than %d lines; issue one for a shorter period", MaxLines).InField("to")
		}
		made.Lines = append(made.Lines, Line{TransactionID: l.TransactionID, Posting: l.Posting, Date: l.Date, Entry: l.Entry, Reference: l.Reference,
			Donor: l.Donor, EndToEndID: l.EndToEndID, PayoutState: l.PayoutState, SettledOn: l.SettledOn, BankReference: l.BankReference,
			ReturnReason: l.ReturnReason, Amount: l.Amount})
	}
	return nil
}

// stated compares what stands on a payee's account with what its statements said.
type stated struct {
	tx    *sqldb.Tx
	payee payments.Payee
	past  []stored
}

// until returns the first day, up to one, with a posting that is on no statement,
// and the zero date where there is none. Postings only add to both sides of an
// account, so that the first day is where the sums begin to differ.
func (s stated) until(ctx context.Context, day ledger.Date) (ledger.Date, error) {
	first := ledger.MinEffectiveDate
	if n := len(s.past); n > 0 {
		first = s.past[n-1].To.AddDays(1)
		var debits, credits ledger.Amount
		for _, p := range s.past {
			debits, credits = debits+p.debits, credits+p.credits
		}
		same, err := s.posted(ctx, first.AddDays(-1), debits, credits)
		if err != nil {
			return ledger.Date{}, err
		}
		if same { // nothing came late, as nearly always
			if day.Before(first) {
				return ledger.Date{}, nil
			}
			return first, nil
		}
		first = ledger.MinEffectiveDate
	}
	if same, err := s.same(ctx, day); err != nil || same {
		return ledger.Date{}, err
	}
	last := day // where the sums are known to differ
	for first.Before(last) {
		middle := first.AddDays(int(last.Midnight(time.UTC).Sub(first.Midnight(time.UTC)).Hours()/24) / 2)
		same, err := s.same(ctx, middle)
		if err != nil {
			return ledger.Date{}, err
		}
		if same {
			first = middle.AddDays(1)
		} else {
			last = middle
		}
	}
	return last, nil
}

// same reports whether all that is posted until a day is on a statement.
func (s stated) same(ctx context.Context, day ledger.Date) (bool, error) {
	var debits, credits ledger.Amount
	err := s.tx.QueryRow(ctx, fmt.Sprintf(`SELECT CAST(COALESCE(SUM(CASE WHEN amount < 0 THEN -amount ELSE 0 END), 0) AS %[1]s),
		CAST(COALESCE(SUM(CASE WHEN amount > 0 THEN amount ELSE 0 END), 0) AS %[1]s) FROM donation_statement_lines
		WHERE payee_id = $1 AND effective_date <= $2`, s.tx.Int8()), []any{s.payee.ID, day}, &debits, &credits)
	if err != nil {
		return false, fmt.Errorf("add up what has been stated: %w", err)
	}
	return s.posted(ctx, day, debits, credits)
}

// posted reports whether these are the sums of the account until a day.
func (s stated) posted(ctx context.Context, day ledger.Date, debits, credits ledger.Amount) (bool, error) {
	balance, err := engine.BalanceAsOf(ctx, s.tx, s.payee.AccountID, engine.AsOf{EffectiveDate: day})
	return balance.DebitsPosted == debits && balance.CreditsPosted == credits, err
}
