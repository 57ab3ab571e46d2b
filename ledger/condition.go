package ledger

import (
	"fmt"

	"github.com/google/uuid"
)

// Condition makes a PostRequest depend on what its caller saw: it is posted only
// if the account still has this version, this posted balance, or both. It is
// judged in the transaction that posts, before the request's own postings.
type Condition struct {
	AccountID uuid.UUID
	Version   *int64  // Balance.Version; nil: any
	Balance   *Amount // Balance.Posted, in minor units; nil: any
}

// MaxConditions bounds the conditions of a request: each locks an account that
// its postings need not touch.
const MaxConditions = 100

// Check returns an Error with CodeConditionFailed where the account's balance b
// is not what c asks for.
func (c Condition) Check(b Balance) error {
	if c.Version != nil && *c.Version != b.Version {
		return Errorf(CodeConditionFailed, "account %s is at version %d, not %d; read it again", c.AccountID, b.Version, *c.Version)
	}
	if c.Balance != nil && *c.Balance != b.Posted() {
		return Errorf(CodeConditionFailed, "account %s has a balance of %s %s, not %s; read it again",
			c.AccountID, b.Posted().Format(b.Currency), b.Currency, c.Balance.Format(b.Currency))
	}
	return nil
}

func validateConditions(conditions []Condition) error {
	if len(conditions) == 0 {
		return nil
	}
	if len(conditions) > MaxConditions {
		return Errorf(CodeInvalid, "a request has at most %d conditions, not %d", MaxConditions, len(conditions)).InField("conditions")
	}
	seen := make(map[uuid.UUID]bool, len(conditions))
	for i, c := range conditions {
		err := c.validate()
		if err == nil && seen[c.AccountID] {
			err = Errorf(CodeInvalid, "account %s has two conditions; make them one", c.AccountID).InField("account_id")
		}
		if err != nil {
			return within(err, fmt.Sprintf("conditions[%d]", i))
		}
		seen[c.AccountID] = true
	}
	return nil
}

func (c Condition) validate() error {
	switch {
	case c.AccountID == uuid.Nil:
		return Errorf(CodeInvalid, "the condition needs an account").InField("account_id")
	case c.Version == nil && c.Balance == nil:
		return Errorf(CodeInvalid, "the condition needs a version or a balance")
	case c.Version != nil && *c.Version < 0:
		return Errorf(CodeInvalid, "versions are counted from 0, there is no %d", *c.Version).InField("version")
	}
	return nil
}

// hash adds c to h: what is not asked for differs from every value.
func (c Condition) hash(h *hasher) {
	h.id(c.AccountID)
	for _, value := range []*int64{c.Version, (*int64)(c.Balance)} {
		if value == nil {
			h.text("any")
			continue
		}
		h.text("is")
		h.number(*value)
	}
}
