package payments

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// referenceBytes is how much of an order's id makes its reference: eight letters and
// digits can be read out on the telephone, and few orders share them.
const referenceBytes = 4

// mostNamed bounds the orders that an ambiguous reference is answered with.
const mostNamed = 5

// ResolveOrder returns the id of the order that a person means: by its id, by the
// reference that replies and statements quote ("44B5BCB2"), or by its key
// ("twitter:1990000000000000002"), which statements quote as well. No such order is
// CodeNotFound; a reference that several orders share is CodeConflict, and names
// them. Of the orders with one key, which replaced each other, it is the last.
func ResolveOrder(ctx context.Context, tx *sqldb.Tx, text string) (uuid.UUID, error) {
	if id, err := uuid.Parse(text); err == nil {
		_, err := FindOrder(ctx, tx, id)
		return id, err
	}
	if strings.Contains(text, ":") {
		o, err := oneOrder(ctx, tx, "order_key = $1", text, " ORDER BY version DESC LIMIT 1", "with key "+clip(text))
		return o.ID, err
	}
	first, err := hex.DecodeString(text)
	if err != nil || len(first) != referenceBytes {
		return uuid.Nil, ledger.Errorf(ledger.CodeInvalid, "%q is not the id of an order nor its reference of %d letters and digits; \"tweetledger order list\" shows both",
			clip(text), 2*referenceBytes).InField("order")
	}
	var low, high uuid.UUID
	for i := range high {
		high[i] = 0xff
	}
	copy(low[:], first)
	copy(high[:], first)
	found, err := orders(ctx, tx, "id >= $1 AND id <= $2", []any{low, high}, fmt.Sprintf(" ORDER BY id LIMIT %d", mostNamed+1))
	if err != nil {
		return uuid.Nil, fmt.Errorf("find the order with reference %s: %w", clip(text), err)
	}
	switch len(found) {
	case 0:
		return uuid.Nil, ledger.Errorf(ledger.CodeNotFound, "there is no order with reference %s", strings.ToUpper(text)).InField("order")
	case 1:
		return found[0].ID, nil
	}
	names := make([]string, 0, mostNamed+1)
	for i, o := range found {
		if i == mostNamed {
			names = append(names, "…")
			break
		}
		names = append(names, o.ID.String())
	}
	return uuid.Nil, ledger.Errorf(ledger.CodeConflict, "several orders have the reference %s; give the id of one: %s", strings.ToUpper(text), strings.Join(names, ", ")).InField("order")
}
