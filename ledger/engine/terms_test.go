package engine_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tweetledger/ledger/engine"
)

// However many pages are found, sealed or waiting, each is looked at once, in order.
func TestCandidatesAreLookedAtInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		var sealed, waiting, all []int64
		for page, n := int64(0), rapid.IntRange(0, 2500).Draw(rt, "pages"); n > 0; n-- {
			page += 1 + random.Int64N(3)
			all = append(all, page)
			if random.IntN(10) == 0 {
				waiting = append(waiting, page)
			} else {
				sealed = append(sealed, page)
			}
		}
		got, err := engine.MergeCandidates(t.Context(), sealed, waiting)
		if err != nil || !slices.Equal(got, all) {
			rt.Fatalf("%d pages, %v; want %d, in order", len(got), err, len(all))
		}
	})
}
