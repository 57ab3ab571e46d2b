package engine

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

// accountState is an account as the batch sees it. balance is what the database
// has, plus delta, where read says that it was read; otherwise only delta is known.
type accountState struct {
	numberedAccount
	read    bool
	balance ledger.Balance
	// unsummable says that its shards come to more than 64 bits hold together.
	unsummable error
	delta      delta
}

// change is what a request changes of an account.
type change struct {
	account *accountState
	delta   delta
}

// delta is what a batch, or one request, changes of a balance.
type delta struct {
	debitsPosted, creditsPosted, debitsPending, creditsPending ledger.Amount
}

func (d *delta) add(other delta) error {
	for _, sum := range []struct {
		to *ledger.Amount
		by ledger.Amount
	}{
		{&d.debitsPosted, other.debitsPosted}, {&d.creditsPosted, other.creditsPosted},
		{&d.debitsPending, other.debitsPending}, {&d.creditsPending, other.creditsPending},
	} {
		total, err := sum.to.Add(sum.by)
		if err != nil {
			return err
		}
		*sum.to = total
	}
	return nil
}

func (d delta) isZero() bool { return d == delta{} }

// holdsTrue checks that accounts stand as the caller of a conditional request
// saw them.
func (b *batch) holdsTrue(conditions []ledger.Condition) error {
	for i, c := range conditions {
		account, ok := b.accounts[c.AccountID]
		failed := func(what string, is, want any) error {
			return ledger.Errorf(ledger.CodeConditionFailed, "the %s of account %s is %v, not %v; read it again and decide anew",
				what, account.Code, is, want).InField(fmt.Sprintf("conditions[%d]", i))
		}
		switch {
		case !ok:
			return ledger.Errorf(ledger.CodeNotFound, "there is no account %s", c.AccountID).InField(fmt.Sprintf("conditions[%d].account_id", i))
		case account.unsummable != nil:
			return account.unsummable
		case c.Version != nil && *c.Version != account.version():
			return failed("version", account.version(), *c.Version)
		case c.Balance != nil && *c.Balance != account.balance.Posted():
			return failed("balance", account.balance.Posted().Format(account.Currency), c.Balance.Format(account.Currency))
		}
	}
	return nil
}

// version is the one that the next reader will see if the batch ends here.
func (a *accountState) version() int64 {
	if a.delta.isZero() {
		return a.balance.Version
	}
	return a.balance.Version + 1
}

// change adds what a posting changes of its two accounts, which are known.
func (b *batch) change(changes []change, p ledger.Posting, debit, credit delta) ([]change, *ledger.Error) {
	for _, side := range [...]change{{b.accounts[p.Debit], debit}, {b.accounts[p.Credit], credit}} {
		i := slices.IndexFunc(changes, func(c change) bool { return c.account == side.account })
		if i < 0 {
			changes = append(changes, side)
			continue
		}
		if err := changes[i].delta.add(side.delta); err != nil {
			return nil, ledger.Errorf(ledger.CodeOverflow, "the postings to one account add up to more than 64 bits hold: %w", err)
		}
	}
	return changes, nil
}

// usable checks that both accounts of a posting exist, are open, and are in its
// currency. The error's field is debit or credit.
func (b *batch) usable(p ledger.Posting) *ledger.Error {
	for _, side := range [...]struct {
		id   uuid.UUID
		name string
	}{{p.Debit, "debit"}, {p.Credit, "credit"}} {
		account, ok := b.accounts[side.id]
		switch {
		case !ok:
			return ledger.Errorf(ledger.CodeNotFound, "there is no account %s", side.id).InField(side.name)
		case account.Status != ledger.AccountOpen:
			return ledger.Errorf(ledger.CodeAccountClosed, "account %s is closed", account.Code).InField(side.name)
		case account.Currency != p.Currency:
			return ledger.Errorf(ledger.CodeCurrencyMismatch, "account %s is in %s, not in %s",
				account.Code, account.Currency, p.Currency).InField(side.name)
		}
	}
	return nil
}

// try applies changes to the accounts in memory if every bound allows all of
// them together, and leaves everything as it was otherwise.
func (b *batch) try(changes []change) error {
	slices.SortFunc(changes, func(a, b change) int { return compareIDs(a.account.ID, b.account.ID) }) // the same refusal for the same request
	before := make([]accountState, len(changes))
	for i, c := range changes {
		before[i] = *c.account
		err := c.account.add(c.delta)
		if err == nil && c.account.read {
			err = c.account.apply(c.delta)
		}
		if err != nil {
			for j := range i + 1 {
				*changes[j].account = before[j]
			}
			return err
		}
	}
	if b.mode == hopeful {
		b.steps = append(b.steps, changes)
	}
	return nil
}

func compareIDs(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

func (a *accountState) overflow(err error) error {
	return ledger.Errorf(ledger.CodeOverflow, "the balance of account %s would leave the range of 64 bits: %w", a.Code, err)
}

// add notes d for the account.
func (a *accountState) add(d delta) error {
	if err := a.delta.add(d); err != nil {
		return a.overflow(err)
	}
	return nil
}

// apply adds d to the balance that was read and checks its bounds.
func (a *accountState) apply(d delta) error {
	total := delta{a.balance.DebitsPosted, a.balance.CreditsPosted, a.balance.DebitsPending, a.balance.CreditsPending}
	if err := total.add(d); err != nil {
		return a.overflow(err)
	}
	before := a.balance
	a.balance.DebitsPosted, a.balance.CreditsPosted = total.debitsPosted, total.creditsPosted
	a.balance.DebitsPending, a.balance.CreditsPending = total.debitsPending, total.creditsPending
	// A request that improves a balance is never refused for where it still stands.
	if a.Min != nil && a.balance.Available() < *a.Min && a.balance.Available() < before.Available() {
		return ledger.Errorf(ledger.CodeInsufficientFunds, "account %s has %s %s available, and may not fall below %s",
			a.Code, before.Available().Format(a.Currency), a.Currency, a.Min.Format(a.Currency))
	}
	if a.Max != nil && a.balance.Expected() > *a.Max && a.balance.Expected() > before.Expected() {
		return ledger.Errorf(ledger.CodeLimitExceeded, "account %s stands at %s %s with what is expected, and may not rise above %s",
			a.Code, before.Expected().Format(a.Currency), a.Currency, a.Max.Format(a.Currency))
	}
	return nil
}
