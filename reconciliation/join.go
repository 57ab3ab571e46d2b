package reconciliation

import (
	"iter"

	"tweetledger/ledger"
)

// maxGroup bounds what either side may have under one key: an edit chain has a
// handful of versions.
const maxGroup = 10_000

// side collects one side of a join, in whatever order it comes. It keeps what fits
// into memory and sorts the rest on disk.
type side[T any] struct {
	sorter sorter
	key    func(T) string
	// within appends in what order the items of one key come.
	within func([]byte, T) []byte
	encode func([]byte, T) []byte
	decode func([]byte) (T, error)

	sortKey, value []byte
}

func (s *side[T]) add(item T) error {
	s.sortKey = s.within(orderedText(s.sortKey[:0], s.key(item)), item)
	s.value = s.encode(s.value[:0], item)
	return s.sorter.add(s.sortKey, s.value)
}

// sorted yields the items in the order of their keys, so that the order of arrival is
// forgotten.
func (s *side[T]) sorted() iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for r, err := range s.sorter.records() {
			var item T
			if err == nil {
				item, err = s.decode(r.value)
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// group is what both sides have under one key; one of them may be empty.
type group[A, B any] struct {
	key string
	a   []A
	b   []B
}

// join merges two streams, each in order of its keys, into groups in that order.
// It holds no more than one group at a time. An error is the last that it yields.
func join[A, B any](as iter.Seq2[A, error], keyA func(A) string, bs iter.Seq2[B, error], keyB func(B) string) iter.Seq2[group[A, B], error] {
	return func(yield func(group[A, B], error) bool) {
		a, b := newReader(as, keyA), newReader(bs, keyB)
		defer a.stop()
		defer b.stop()
		for a.has || b.has {
			var g group[A, B]
			switch {
			case !b.has:
				g.key = a.key
			case !a.has:
				g.key = b.key
			default:
				g.key = min(a.key, b.key)
			}
			g.a, g.b = a.take(g.key), b.take(g.key)
			if a.err != nil || b.err != nil {
				break
			}
			if !yield(g, nil) {
				return
			}
		}
		for _, err := range []error{a.err, b.err} {
			if err != nil {
				yield(group[A, B]{}, err)
				return
			}
		}
	}
}

// reader is a stream with the item that is next.
type reader[T any] struct {
	next  func() (T, error, bool)
	stop  func()
	keyOf func(T) string
	item  T
	key   string
	has   bool
	err   error
}

func newReader[T any](items iter.Seq2[T, error], key func(T) string) *reader[T] {
	r := &reader[T]{keyOf: key}
	r.next, r.stop = iter.Pull2(items)
	r.advance()
	return r
}

func (r *reader[T]) advance() {
	r.item, r.err, r.has = r.next()
	if r.err != nil {
		r.has = false
	}
	if r.has {
		r.key = r.keyOf(r.item)
	}
}

// take reads all items of a key.
func (r *reader[T]) take(key string) []T {
	var list []T
	for r.has && r.key == key {
		if len(list) == maxGroup {
			r.has, r.err = false, ledger.Errorf(ledger.CodeLimitExceeded, "there are more than %d items under %s; somebody repeats them", maxGroup, ledger.Clip(key))
			return nil
		}
		list = append(list, r.item)
		r.advance()
	}
	return list
}
