package payments

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Rhythm is how often a payee is paid out.
type Rhythm string

// The rhythms of payouts.
const (
	Daily       Rhythm = "daily"
	Weekly      Rhythm = "weekly"
	Fortnightly Rhythm = "fortnightly"
	Monthly     Rhythm = "monthly"
)

// Payee is a charity or a business that customers can pay.
type Payee struct {
	ID        uuid.UUID
	Code      string    // unique: "acf"
	Kind      PayeeKind // Charity, Business or OwnBank
	Name      string
	Status    Status
	AccountID uuid.UUID // account in the ledger, code AccountCode()
	IBAN      string    // without blanks; empty: nothing can be paid out yet
	BIC       string    // may be empty
	// Rhythm counts from Anchor: its day of the week, every second week from it, its
	// day of the month.
	Rhythm    Rhythm
	Anchor    ledger.Date
	Address   Address
	CreatedAt time.Time
}

// NewPayee is what is known of a charity or business that staff enrol.
type NewPayee struct {
	Code              string // 1 to 32 of a-z 0-9 -
	Kind              PayeeKind
	Name              string
	IBAN              string // blanks are removed; empty: given later
	BIC               string
	CommissionPoints  int // as in Terms; 0 to 10000
	CommissionMinimum ledger.Amount
	Tiers             []CommissionTier
	VATPoints         int
	Rhythm            Rhythm      // empty: Monthly
	Anchor            ledger.Date // zero: DefaultAnchor
	Address           Address
}

// DefaultAnchor is what rhythms count from where nothing else is agreed: a Monday and
// the first of its month.
var DefaultAnchor = ledger.Date{Year: 2024, Month: time.January, Day: 1}

// PayableCode returns the code of the account in the ledger that says what a
// payee is owed.
func PayableCode(payeeCode string) string { return "payable:" + payeeCode }

// payableShards spreads the balance rows of a payee's account: a campaign makes
// it hot, and it has no bounds.
const payableShards = 8

var payeeCodePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

func (n *NewPayee) normalise() error {
	invalid := func(field, format string, args ...any) error {
		return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(field)
	}
	if n.Rhythm == "" {
		n.Rhythm = Monthly
	}
	if n.Anchor.IsZero() {
		n.Anchor = DefaultAnchor
	}
	switch {
	case !payeeCodePattern.MatchString(n.Code):
		return invalid("code", "%q is not a payee code: 1 to 32 of a-z 0-9 -, starting with a letter or digit", clip(n.Code))
	case (n.Kind == OwnBank) != strings.HasPrefix(n.Code, ownBankPrefix):
		return invalid("code", "codes that begin with %s are those of customers' own bank accounts; \"tweetledger customer bank\" proposes these", ownBankPrefix)
	case n.Kind != Charity && n.Kind != Business && n.Kind != OwnBank:
		return invalid("kind", "%q is not a kind of payee; use charity or business", clip(string(n.Kind)))
	case n.Anchor.Before(ledger.MinEffectiveDate) || ledger.MaxEffectiveDate.Before(n.Anchor):
		return invalid("anchor", "a rhythm cannot count from %s; give a day between %s and %s", n.Anchor, ledger.MinEffectiveDate, ledger.MaxEffectiveDate)
	case n.Rhythm != Daily && n.Rhythm != Weekly && n.Rhythm != Fortnightly && n.Rhythm != Monthly:
		return invalid("rhythm", "%q is not a rhythm; use daily, weekly, fortnightly or monthly", clip(string(n.Rhythm)))
	}
	if err := validText("name", n.Name, maxName); err != nil {
		return err
	}
	if err := n.Address.validate(); err != nil {
		return err
	}
	if err := n.terms().validate(); err != nil {
		return err
	}
	if len(n.Tiers) == 0 {
		n.Tiers = nil
	}
	var err error
	n.IBAN, n.BIC, err = bankAccount(n.IBAN, n.BIC)
	return err
}

func bankAccount(iban, bic string) (string, string, error) {
	var err error
	if iban != "" {
		if iban, err = ParseIBAN(iban); err != nil {
			return "", "", err
		}
	}
	if bic != "" {
		if iban == "" {
			return "", "", ledger.Errorf(ledger.CodeInvalid, "a BIC without an IBAN says nothing; give both").InField("bic")
		}
		if bic, err = ParseBIC(bic); err != nil {
			return "", "", err
		}
	}
	return iban, bic, nil
}

const payeeColumns = `id, code, kind, name, status, account_id, COALESCE(iban, ''), COALESCE(bic, ''),
	rhythm, anchor, street, building, post_code, town, country, created_at`

func scanPayee(rows *sqldb.Rows) (Payee, error) {
	var p Payee
	err := rows.Scan(&p.ID, &p.Code, &p.Kind, &p.Name, &p.Status, &p.AccountID, &p.IBAN, &p.BIC,
		&p.Rhythm, &p.Anchor, &p.Address.Street, &p.Address.Building, &p.Address.PostCode, &p.Address.Town, &p.Address.Country, &p.CreatedAt)
	return p, err
}

// enrolPayee makes a payee that was approved, and opens its account.
func (s *Service) enrolPayee(ctx context.Context, tx *sqldb.Tx, p Payee) (Payee, error) {
	account, err := s.engine.OpenAccountTx(ctx, tx, s.payeeAccount(p))
	if err != nil {
		return Payee{}, fmt.Errorf("open the account: %w", err)
	}
	p.AccountID = account.ID
	_, err = tx.Exec(ctx, `INSERT INTO payees (id, code, kind, name, status, account_id, iban, bic, rhythm, anchor, created_at,
			street, building, post_code, town, country)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
		p.ID, p.Code, string(p.Kind), p.Name, string(p.Status), p.AccountID, sqldb.NullText(p.IBAN), sqldb.NullText(p.BIC),
		string(p.Rhythm), p.Anchor, p.CreatedAt,
		p.Address.Street, p.Address.Building, p.Address.PostCode, p.Address.Town, p.Address.Country)
	if err != nil {
		return Payee{}, fmt.Errorf("store the payee: %w", err)
	}
	return p, nil
}

// FindPayee returns the payee with the given code, or CodeNotFound.
func FindPayee(ctx context.Context, tx *sqldb.Tx, code string) (Payee, error) {
	return onePayee(ctx, tx, "code = $1", code, code)
}

// FindPayeeByID returns the payee with the given id, or CodeNotFound.
func FindPayeeByID(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (Payee, error) {
	return onePayee(ctx, tx, "id = $1", id, id.String())
}

func onePayee(ctx context.Context, tx *sqldb.Tx, where string, arg any, name string) (Payee, error) {
	var found []Payee
	err := tx.Each(ctx, "SELECT "+payeeColumns+" FROM payees WHERE "+where, []any{arg}, func(rows *sqldb.Rows) error {
		p, err := scanPayee(rows)
		found = append(found, p)
		return err
	})
	if err != nil {
		return Payee{}, fmt.Errorf("find payee %s: %w", clip(name), err)
	}
	if len(found) == 0 {
		return Payee{}, ledger.Errorf(ledger.CodeNotFound, "there is no payee %s", clip(name)).InField("payee")
	}
	return found[0], nil
}

// FindPayeesByID returns the payees with the given ids, at most MaxPage, by id; one
// that there is none of is CodeNotFound.
func FindPayeesByID(ctx context.Context, tx *sqldb.Tx, ids []uuid.UUID) (map[uuid.UUID]Payee, error) {
	if len(ids) > MaxPage {
		return nil, ledger.Errorf(ledger.CodeInvalid, "ask for at most %d payees at once, not %d", MaxPage, len(ids))
	}
	found := make(map[uuid.UUID]Payee, len(ids))
	err := tx.Each(ctx, "SELECT "+payeeColumns+" FROM payees WHERE "+tx.AnyUUID("id", 1), []any{ids}, func(rows *sqldb.Rows) error {
		p, err := scanPayee(rows)
		found[p.ID] = p
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find %d payees: %w", len(ids), err)
	}
	for _, id := range ids {
		if _, ok := found[id]; !ok {
			return nil, ledger.Errorf(ledger.CodeNotFound, "there is no payee %s", id).InField("payee")
		}
	}
	return found, nil
}

// PayeeFilter selects a page of payees, in order of their codes.
type PayeeFilter struct {
	AfterCode string // empty: from the first
	// Paid leaves out customers' own bank accounts: what is left can be paid by tweet.
	Paid bool
	// SkipIdle leaves out customers' own bank accounts that are owed nothing: there may be
	// one for each customer.
	SkipIdle bool
	Limit    int // 1 to MaxPage
}

// ListPayees returns a page of payees.
func ListPayees(ctx context.Context, tx *sqldb.Tx, f PayeeFilter) ([]Payee, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var list []Payee
	which := ""
	if f.Paid {
		which = " AND kind <> 'customer'"
	}
	if f.SkipIdle { // of an account with several shards that is owed something, at least one has more credits
		which += " AND (kind <> 'customer' OR EXISTS (SELECT 1 FROM accounts AS a JOIN balances AS n ON n.account_no = a.no WHERE a.id = payees.account_id AND n.credits_posted > n.debits_posted))"
	}
	err := tx.Each(ctx, fmt.Sprintf("SELECT %s FROM payees WHERE code > $1%s ORDER BY code LIMIT %d", payeeColumns, which, f.Limit),
		[]any{f.AfterCode}, func(rows *sqldb.Rows) error {
			p, err := scanPayee(rows)
			list = append(list, p)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("list payees: %w", err)
	}
	return list, nil
}

// Payee returns the payee with the given code, or CodeNotFound.
func (s *Service) Payee(ctx context.Context, code string) (Payee, error) {
	var p Payee
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		p, err = FindPayee(ctx, tx, code)
		return err
	})
	return p, err
}

// SetPayeeStatus blocks a payee or lifts that, for a reason. What is closed stays
// closed: CodeConflict.
func (s *Service) SetPayeeStatus(ctx context.Context, code string, status Status, actor, reason string) error {
	if err := validAct(actor, reason); err != nil {
		return err
	}
	if status != Open && status != Blocked && status != Closed {
		return ledger.Errorf(ledger.CodeInvalid, "%q is not a status; use open, blocked or closed", clip(string(status))).InField("status")
	}
	now := s.engine.Now()
	return s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		p, err := FindPayee(ctx, tx, code)
		if err != nil || p.Status == status {
			return err
		}
		if err := mayBecome(p.Status, p.Code); err != nil {
			return err
		}
		if status == Closed {
			if err := s.mustBeEmpty(ctx, tx, p.AccountID, p.Code); err != nil {
				return err
			}
			if err := noPayoutOnItsWay(ctx, tx, p); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "UPDATE payees SET status = $1 WHERE id = $2", string(status), p.ID); err != nil {
			return fmt.Errorf("set the status of payee %s: %w", code, err)
		}
		return recordPartyEvent(ctx, tx, p.ID, PartyEvent{At: now, Actor: actor, Event: string(status), Reason: reason})
	})
}

// noPayoutOnItsWay refuses to close a payee while the bank may still send money back.
func noPayoutOnItsWay(ctx context.Context, tx *sqldb.Tx, p Payee) error {
	var waiting []string
	err := tx.Each(ctx, "SELECT end_to_end_id FROM payouts WHERE payee_id = $1 AND state NOT IN ('settled', 'returned', 'rejected', 'cancelled') ORDER BY end_to_end_id LIMIT 1",
		[]any{p.ID}, func(rows *sqldb.Rows) error {
			var id string
			err := rows.Scan(&id)
			waiting = append(waiting, id)
			return err
		})
	if err != nil {
		return fmt.Errorf("look for payouts of %s on their way: %w", p.Code, err)
	}
	if len(waiting) > 0 {
		return ledger.Errorf(ledger.CodeConflict, "payout %s to %s is on its way; close it once the bank's statement shows that it was paid", waiting[0], p.Code).InField("status")
	}
	return nil
}

// mustBeEmpty refuses to close a party that still has, or is about to have, money.
func (s *Service) mustBeEmpty(ctx context.Context, tx *sqldb.Tx, accountID uuid.UUID, name string) error {
	b, err := engine.FindBalance(ctx, tx, accountID)
	if err != nil {
		return fmt.Errorf("balance of %s: %w", name, err)
	}
	if b.Posted() != 0 || b.DebitsPending != 0 || b.CreditsPending != 0 {
		return ledger.Errorf(ledger.CodeConflict, "%s still has %s %s and %s on its way; close only at zero", name,
			b.Posted().Format(b.Currency), b.Currency, (b.DebitsPending + b.CreditsPending).Format(b.Currency)).InField("status")
	}
	return nil
}
