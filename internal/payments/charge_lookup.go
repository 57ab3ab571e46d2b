package payments

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
)

// PostingKeys returns the idempotency keys of all that a charge may have posted, in
// the order in which it would have.
func (c Charge) PostingKeys() []string {
	var keys []string
	if c.Reference != "" {
		keys = append(keys, TopUpKey(c.Reference))
	}
	step := c
	for step.events = 0; step.events < c.events; step.events++ {
		keys = append(keys, step.stepKey())
	}
	return keys
}

// FindCharges returns the charges that have one of the keys, or one of the references
// of the processor, each once and in order of their ids.
func FindCharges(ctx context.Context, tx *sqldb.Tx, keys, references []string) ([]Charge, error) {
	found := map[uuid.UUID]Charge{}
	for _, by := range []struct {
		column string
		values []string
	}{{"charge_key", keys}, {"reference", references}} {
		for page := range slices.Chunk(by.values, MaxPage) {
			list, err := findCharges(ctx, tx, tx.AnyText(by.column, 1), []any{page}, "")
			if err != nil {
				return nil, err
			}
			for _, c := range list {
				found[c.ID] = c
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b Charge) int { return bytes.Compare(a.ID[:], b.ID[:]) }), nil
}

// FindDisputes returns the disputes of charges, by charge, the oldest of
// each first.
func FindDisputes(ctx context.Context, tx *sqldb.Tx, charges []uuid.UUID) (map[uuid.UUID][]Dispute, error) {
	found := map[uuid.UUID][]Dispute{}
	for page := range slices.Chunk(charges, MaxPage) {
		list, err := selectDisputes(ctx, tx, tx.AnyUUID("charge_id", 1), page)
		if err != nil {
			return nil, fmt.Errorf("disputes of %d charges: %w", len(charges), err)
		}
		for _, d := range list {
			found[d.ChargeID] = append(found[d.ChargeID], d)
		}
	}
	return found, nil
}
