package ledger

import (
	"regexp"
	"time"

	"github.com/google/uuid"
)

// Side is a side of the book, and the side on which an account's balance
// normally stands: debit for assets and expenses, credit for liabilities,
// equity and income.
type Side string

// The two sides.
const (
	Debit  Side = "debit"
	Credit Side = "credit"
)

// AccountStatus says whether an account takes postings.
type AccountStatus string

// The states of an account.
const (
	AccountOpen   AccountStatus = "open"
	AccountClosed AccountStatus = "closed"
)

// Account is one account of the book. Its code, category, side, currency and
// shards never change. It carries no personal data: whose wallet it is, only
// package payments knows.
type Account struct {
	ID       uuid.UUID
	Code     string   // unique, for people and configuration: "wallet:c-000017"
	Name     string   // what the account is, never whose: "Cards to be settled"
	Category Category // what it is for; the chart maps it to a CompteNum
	Side     Side
	Currency Currency
	// Min and Max bound the balance on the account's normal side, in minor
	// units, holds included; nil is no bound. Min 0 is a wallet that cannot be
	// overdrawn.
	Min, Max *Amount
	// Shards is the number of rows that the balance is spread over, so that many
	// nodes can post to a hot account at once: 1 to MaxShards, and 1 for an
	// account with a bound, which must be judged as one.
	Shards   int
	Status   AccountStatus
	OpenedAt time.Time // UTC
}

// MaxShards bounds the balance rows of one account: enough for the nodes of a
// large cluster, few enough to sum on every read.
const MaxShards = 64

// Limited reports whether the account has a bound that postings are judged by.
func (a Account) Limited() bool { return a.Min != nil || a.Max != nil }

// SystemAccountID returns the id of the account with the given code that every
// book has by convention. The same code has the same id in every book.
func SystemAccountID(code string) uuid.UUID {
	return uuid.NewSHA1(accountNamespace, []byte(code))
}

// Bounds of an account's text fields, in bytes.
const (
	MaxAccountCode = 64
	MaxAccountName = 120
)

var accountCodePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9:._-]*$`)

// Validate checks a new account. The error is an Error with CodeInvalid.
func (a Account) Validate() error {
	switch {
	case a.ID == uuid.Nil:
		return Errorf(CodeInvalid, "the account needs an id").InField("id")
	case len(a.Code) > MaxAccountCode || !accountCodePattern.MatchString(a.Code):
		return Errorf(CodeInvalid, "%q is not an account code: 1 to %d of a-z 0-9 : . _ -, starting with a letter or digit",
			Clip(a.Code), MaxAccountCode).InField("code")
	case !Printable(a.Name, MaxAccountName):
		return Errorf(CodeInvalid, "the name must be 1 to %d bytes of printable text", MaxAccountName).InField("name")
	case !a.Category.valid():
		return Errorf(CodeInvalid, "%q is not a category: 1 to %d of a-z and _", Clip(string(a.Category)), maxCategory).InField("category")
	case a.Side != Debit && a.Side != Credit:
		return Errorf(CodeInvalid, "the side must be debit or credit, not %q", Clip(string(a.Side))).InField("side")
	case !a.Currency.Known():
		return Errorf(CodeInvalid, "%q is not an ISO 4217 currency code", Clip(string(a.Currency))).InField("currency")
	case a.Min != nil && a.Max != nil && *a.Min > *a.Max:
		return Errorf(CodeInvalid, "the minimum %s %s is above the maximum %s %s", a.Min.Format(a.Currency), a.Currency,
			a.Max.Format(a.Currency), a.Currency).InField("min")
	case a.Min != nil && *a.Min > 0, a.Max != nil && *a.Max < 0:
		return Errorf(CodeInvalid, "a new account has balance 0, which its bounds must allow").InField("min")
	case a.Shards < 1 || a.Shards > MaxShards:
		return Errorf(CodeInvalid, "shards must be 1 to %d, not %d", MaxShards, a.Shards).InField("shards")
	case a.Limited() && a.Shards != 1:
		return Errorf(CodeInvalid, "an account with a bound has exactly 1 shard, not %d", a.Shards).InField("shards")
	}
	return nil
}
