package ledger

import "github.com/google/uuid"

// Balance is what stands on an account: the totals of both sides, posted and
// pending (held), in minor units.
type Balance struct {
	AccountID      uuid.UUID
	Currency       Currency
	Side           Side
	DebitsPosted   Amount
	CreditsPosted  Amount
	DebitsPending  Amount
	CreditsPending Amount
	// Version counts the batches that changed the account.
	Version int64
}

// Posted returns the balance on the account's normal side, without holds.
func (b Balance) Posted() Amount {
	if b.Side == Debit {
		return b.DebitsPosted - b.CreditsPosted
	}
	return b.CreditsPosted - b.DebitsPosted
}

// Available returns what may still leave the account on its normal side: the
// posted balance less what is held to leave it. This is what Account.Min bounds.
func (b Balance) Available() Amount {
	if b.Side == Debit {
		return b.Posted() - b.CreditsPending
	}
	return b.Posted() - b.DebitsPending
}

// Expected returns the posted balance plus what is held to come in. This is
// what Account.Max bounds.
func (b Balance) Expected() Amount {
	if b.Side == Debit {
		return b.Posted() + b.DebitsPending
	}
	return b.Posted() + b.CreditsPending
}
