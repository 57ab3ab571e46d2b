package reconciliation

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"iter"

	"tweetledger/ledger"
)

const (
	// maxWindow bounds the items that wait for a partner at once: those of one
	// reference, or of one counterparty in the days of a matcher. The oldest give way,
	// and go to the next matcher.
	maxWindow = 1_000
	// maxBatch bounds the items that one item can stand for: a payment file has
	// 100,000 transfers at most.
	maxBatch = 100_000
)

// Pipeline tries matchers, in their order, on two sides. What one matcher leaves over
// goes to the next one.
type Pipeline struct {
	Matchers []Matcher
	Spill    Spill
}

// Sink is told what a pipeline found, in an order that does not depend on the one in
// which items came. Its errors end the run. Functions that are nil are not told.
type Sink struct {
	// Matched has the items that belong together, by the matcher of that name.
	Matched func(matcher string, inside, outside []Item) error
	// Suggested has a pair that a person must look at. Both of it are left over, too.
	Suggested func(matcher string, inside, outside Item) error
	// Left has an item that no matcher found a partner of.
	Left func(Item) error
}

// Run matches two streams of items, which may come in any order, and returns the
// SHA-256, in hex, of all of them. It finds the same for the same items. Memory is
// bounded by Spill.SortMemory, the windows of matchers and the largest batch; what
// does not fit is sorted on disk. Each item is told of once: as matched, or as left.
func (p Pipeline) Run(ctx context.Context, inside, outside iter.Seq2[Item, error], sink Sink) (string, error) {
	files := newSpill(p.Spill)
	defer files.close()
	s := &stage{sink: sink, next: &queue{matcher: p.after(-1), sorter: sorter{spill: files}}}
	if err := s.read(ctx, Inside, inside); err != nil {
		return "", err
	}
	if err := s.read(ctx, Outside, outside); err != nil {
		return "", err
	}
	inputs := newHasher()
	for i, m := range p.Matchers {
		s.now, s.next = s.next, &queue{matcher: p.after(i), sorter: sorter{spill: files}}
		if i == 0 {
			s.inputs = inputs
		}
		if err := s.run(ctx); err != nil {
			return "", fmt.Errorf("match by %s: %w", m.Name, err)
		}
		s.now.sorter.drop()
		s.inputs = nil
	}
	for item, err := range s.next.items(ctx) {
		if err == nil && len(p.Matchers) == 0 {
			inputs.text(string(item.encode(nil)))
		}
		if err == nil && sink.Left != nil {
			err = sink.Left(item)
		}
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(inputs.h.Sum(nil)), nil
}

// after returns the matcher behind the i-th, or nil behind the last one.
func (p Pipeline) after(i int) *Matcher {
	if i+1 < len(p.Matchers) {
		return &p.Matchers[i+1]
	}
	return nil
}

// queue is the items that wait for a matcher, in the order in which it wants them;
// without one, those that are left over.
type queue struct {
	matcher *Matcher
	sorter  sorter
	key     []byte
	value   []byte
}

func (q *queue) add(i Item) error {
	q.value = i.encode(q.value[:0])
	if m := q.matcher; m != nil {
		q.key = i.order(orderedText(q.key[:0], m.Meet(i)), m.Days != anyDays)
	} else {
		q.key = i.order(orderedText(orderedText(q.key[:0], string(i.Side)), i.Reference), true)
	}
	return q.sorter.add(q.key, q.value)
}

func (q *queue) items(ctx context.Context) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		read := 0
		for r, err := range q.sorter.records() {
			var item Item
			if err == nil {
				item, err = decodeItem(r.value)
			}
			if read++; read%looksEvery == 0 && err == nil {
				err = ctx.Err()
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// looksEvery is after how many items a run looks whether it was called off.
const looksEvery = 4_096

// stage is one matcher at work: it reads what the one before has left, and leaves the
// rest to the next.
type stage struct {
	sink      Sink
	now, next *queue
	inputs    *hasher // of the first stage, which sees all items
	group     window
}

func (s *stage) read(ctx context.Context, side Side, items iter.Seq2[Item, error]) error {
	read := 0
	for item, err := range items {
		if read++; read%looksEvery == 0 && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read the %s: %w", side, err)
		}
		item.Side = side
		if err := s.next.add(item); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) run(ctx context.Context) error {
	m := s.now.matcher
	met := ""
	for item, err := range s.now.items(ctx) {
		if err != nil {
			return err
		}
		if s.inputs != nil {
			s.inputs.text(string(item.encode(nil)))
		}
		key := m.Meet(item)
		if key != met {
			if err := s.end(); err != nil {
				return err
			}
			met = key
		}
		if key == "" {
			err = s.leave(item)
		} else {
			err = s.join(item)
		}
		if err != nil {
			return err
		}
	}
	return s.end()
}

func (s *stage) leave(items ...Item) error {
	for _, item := range items {
		if err := s.next.add(item); err != nil {
			return err
		}
	}
	return nil
}

// window is the items under one key that wait for a partner.
type window struct {
	inside, outside []Item
	// isFull: a batch has more items than it may have, and none is matched.
	isFull bool
}

// join takes an item into the window, and lets go of those whose time is over.
func (s *stage) join(item Item) error {
	m, w := s.now.matcher, &s.group
	if m.Sums {
		return s.joinBatch(item)
	}
	if m.Days != anyDays {
		now, within := days(item.Date), int64(m.Days)
		for len(w.inside) > 0 && days(w.inside[0].Date)+within < now {
			if err := s.resolve(); err != nil {
				return err
			}
		}
		oldest := now
		if len(w.inside) > 0 {
			oldest = days(w.inside[0].Date)
		}
		for len(w.outside) > 0 && days(w.outside[0].Date)+within < oldest {
			if err := s.giveWay(); err != nil {
				return err
			}
		}
	}
	if item.Side == Inside {
		if w.inside = append(w.inside, item); len(w.inside) > maxWindow {
			return s.resolve()
		}
		return nil
	}
	if w.outside = append(w.outside, item); len(w.outside) > maxWindow {
		return s.giveWay()
	}
	return nil
}

// giveWay leaves the oldest item outside to the next matcher.
func (s *stage) giveWay() error {
	item := s.group.outside[0]
	s.group.outside = s.group.outside[1:]
	return s.leave(item)
}

// resolve finds the partner of the oldest item inside, or leaves it over.
func (s *stage) resolve() error {
	w, m := &s.group, s.now.matcher
	item := w.inside[0]
	w.inside = w.inside[1:]
	best := -1
	for i, candidate := range w.outside {
		if m.Days != anyDays && distance(item, candidate) > int64(m.Days) || !m.Accepts([]Item{item, candidate}) {
			continue
		}
		if best < 0 || nearer(item, candidate, w.outside[best]) {
			best = i
		}
	}
	if best < 0 {
		return s.leave(item)
	}
	partner := w.outside[best]
	w.outside = append(w.outside[:best:best], w.outside[best+1:]...)
	if m.Suggests {
		if s.sink.Suggested != nil {
			if err := s.sink.Suggested(m.Name, item, partner); err != nil {
				return err
			}
		}
		return s.leave(item, partner)
	}
	return s.matched([]Item{item}, []Item{partner})
}

func (s *stage) matched(inside, outside []Item) error {
	if s.sink.Matched == nil {
		return nil
	}
	return s.sink.Matched(s.now.matcher.Name, inside, outside)
}

func distance(a, b Item) int64 {
	d := days(a.Date) - days(b.Date)
	return max(d, -d)
}

// nearer reports whether a fits an item better than b does; of equals the first one stays.
func nearer(item, a, b Item) bool {
	apart := func(other Item) int {
		if other.Counterparty == item.Counterparty {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(spread([]Item{item, a}), spread([]Item{item, b})), cmp.Compare(apart(a), apart(b)),
		cmp.Compare(distance(item, a), distance(item, b))) < 0
}

// end lets go of all that waits, as the key has no more items.
func (s *stage) end() error {
	if s.now.matcher.Sums {
		return s.endBatch()
	}
	for len(s.group.inside) > 0 {
		if err := s.resolve(); err != nil {
			return err
		}
	}
	err := s.leave(s.group.outside...)
	s.group = window{}
	return err
}

// joinBatch collects a batch. Of one that is too large all items are left over.
func (s *stage) joinBatch(item Item) error {
	w := &s.group
	if w.isFull {
		return s.leave(item)
	}
	if item.Side == Inside {
		w.inside = append(w.inside, item)
	} else {
		w.outside = append(w.outside, item)
	}
	if len(w.inside)+len(w.outside) <= maxBatch+1 {
		return nil
	}
	err := s.leave(append(w.inside, w.outside...)...)
	s.group = window{isFull: true}
	return err
}

// endBatch matches the items of a batch with the one that stands for them.
func (s *stage) endBatch() error {
	w := s.group
	s.group = window{}
	if len(w.inside)+len(w.outside) == 0 {
		return nil
	}
	one, parts := w.inside, w.outside
	if len(one) != 1 || one[0].Batch != "" {
		one, parts = parts, one
	}
	if len(one) != 1 || one[0].Batch != "" || !isSum(one[0], parts) {
		return s.leave(append(w.inside, w.outside...)...)
	}
	return s.matched(w.inside, w.outside)
}

// isSum reports whether parts name their batch and come to the amount of one.
func isSum(one Item, parts []Item) bool {
	var sum ledger.Amount
	for _, part := range parts {
		var err error
		if sum, err = sum.Add(part.Amount); err != nil || part.Batch == "" || part.Currency != one.Currency {
			return false
		}
	}
	return len(parts) > 0 && sum == one.Amount
}
