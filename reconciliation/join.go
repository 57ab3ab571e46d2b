package reconciliation

import (
	"cmp"
	"iter"
	"slices"

	"tweetledger/ledger"
)

// MaxItems bounds what one run keeps in memory of a side that does not come in
// order of its references: about 200 MB of tweets. More is refused, and a shorter
// period is the way out.
const MaxItems = 250_000

// side collects one side of a join, in whatever order it comes.
type side[T any] struct {
	name  string
	key   func(T) string
	items []T
}

func (s *side[T]) add(item T) error {
	if len(s.items) == MaxItems {
		return ledger.Errorf(ledger.CodeLimitExceeded, "the period has more than %d %s; reconcile a shorter one", MaxItems, s.name).InField("period")
	}
	s.items = append(s.items, item)
	return nil
}

// sorted brings the items into the order of their keys, and those of one key into
// the given order, so that the order of arrival is forgotten.
func (s *side[T]) sorted(within func(a, b T) int) iter.Seq[T] {
	slices.SortStableFunc(s.items, func(a, b T) int {
		return cmp.Or(cmp.Compare(s.key(a), s.key(b)), within(a, b))
	})
	return slices.Values(s.items)
}

// group is what both sides have under one key; one of them may be empty.
type group[A, B any] struct {
	key string
	a   []A
	b   []B
}

// join merges two streams, each in order of its keys, into groups in that order.
// It holds no more than one group at a time.
func join[A, B any](as iter.Seq[A], keyA func(A) string, bs iter.Seq[B], keyB func(B) string) iter.Seq[group[A, B]] {
	return func(yield func(group[A, B]) bool) {
		nextA, stopA := iter.Pull(as)
		defer stopA()
		nextB, stopB := iter.Pull(bs)
		defer stopB()
		a, hasA := nextA()
		b, hasB := nextB()
		for hasA || hasB {
			var g group[A, B]
			switch {
			case !hasB:
				g.key = keyA(a)
			case !hasA:
				g.key = keyB(b)
			default:
				g.key = min(keyA(a), keyB(b))
			}
			for hasA && keyA(a) == g.key {
				g.a = append(g.a, a)
				a, hasA = nextA()
			}
			for hasB && keyB(b) == g.key {
				g.b = append(g.b, b)
				b, hasB = nextB()
			}
			if !yield(g) {
				return
			}
		}
	}
}
