package faulttest_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"tweetledger/ledger"
)

// witness remembers what callers asked for and what they were told.
type witness struct {
	*stage

	mu           sync.Mutex
	acknowledged map[string]ledger.Transaction // by key
	doubtful     map[string]ledger.PostRequest // by key: nobody was told what became of it
}

func newWitness(s *stage) *witness {
	return &witness{stage: s, acknowledged: map[string]ledger.Transaction{}, doubtful: map[string]ledger.PostRequest{}}
}

// post has transfers made, and notes what became of them. It reports whether
// there was an answer. Nothing stands against the transfers, so a refusal fails
// the test; an answer that asks to come back leaves them in doubt.
func (w *witness) post(b book, o order) bool {
	w.mu.Lock()
	for _, r := range o.Requests {
		w.doubtful[r.IdempotencyKey()] = r.(ledger.PostRequest)
	}
	w.mu.Unlock()
	outcomes, ok := b.do(o)
	if !ok {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, out := range outcomes {
		key := o.Requests[i].IdempotencyKey()
		switch {
		case out.accepted():
			w.acknowledge(key, out.Transaction)
		case out.Code != ledger.CodeUnavailable:
			w.t.Errorf("%s: %s %s", key, out.Code, out.Message)
		}
	}
	return true
}

// acknowledge notes that a caller was told of a transaction.
func (w *witness) acknowledge(key string, made ledger.Transaction) {
	if before, ok := w.acknowledged[key]; ok && !sameTransaction(before, made) {
		w.t.Errorf("%s was answered with %+v, and before with %+v", key, made, before)
	}
	w.acknowledged[key] = made
	delete(w.doubtful, key)
}

// settle asks for all that is in doubt again, with its key, and checks that the
// answer agrees with the book as it was before: what is found was carried out. A
// server may still commit what it heard last, so the other direction holds only
// where exact says that nothing is under way.
func (w *witness) settle(b book, exact bool) (carriedOut int) {
	w.t.Helper()
	for key, r := range w.doubtful {
		_, found := w.find([]string{key})[ledger.IDOfKey(key)]
		out := w.ask(b, r)
		if !out.accepted() {
			w.t.Errorf("asked again, %s is refused: %s %s", key, out.Code, out.Message)
			continue
		}
		if found && !out.Replayed || exact && out.Replayed != found {
			w.t.Errorf("%s was in the book: %t; asked again, it was carried out before: %t", key, found, out.Replayed)
		}
		if out.Replayed {
			carriedOut++
		}
		w.acknowledge(key, out.Transaction)
	}
	return carriedOut
}

// maxAsked bounds how often a request is repeated that the ledger asks to repeat.
const maxAsked = 50

// ask repeats a request until it is told what became of it.
func (w *witness) ask(b book, r ledger.Request) outcome {
	w.t.Helper()
	for range maxAsked {
		outcomes, ok := b.do(order{Requests: []ledger.Request{r}, Lookup: true})
		if !ok {
			w.t.Fatalf("no answer to %s", r.IdempotencyKey())
		}
		if outcomes[0].Code != ledger.CodeUnavailable {
			return outcomes[0]
		}
	}
	w.t.Fatalf("%s was put off %d times", r.IdempotencyKey(), maxAsked)
	return outcome{}
}

// checkAcknowledged checks that all that was acknowledged is in the book, as it
// was told.
func (w *witness) checkAcknowledged() {
	w.t.Helper()
	found := w.find(slices.Collect(maps.Keys(w.acknowledged)))
	for key, told := range w.acknowledged {
		if stored, ok := found[ledger.IDOfKey(key)]; !ok {
			w.t.Errorf("%s was acknowledged and is lost", key)
		} else if !sameTransaction(stored, told) {
			w.t.Errorf("%s was acknowledged as %+v, and the book says %+v", key, told, stored)
		}
	}
}

// checkBook checks the whole book when nothing is in doubt any more: what was
// acknowledged is there once, nothing else is there, the money is.
func (w *witness) checkBook() {
	w.t.Helper()
	if len(w.doubtful) > 0 {
		w.t.Errorf("%d requests are in doubt", len(w.doubtful))
	}
	w.checkAcknowledged()
	all := w.journal()
	times := map[string]int{}
	for _, made := range all {
		times[made.Key]++
		if _, ok := w.acknowledged[made.Key]; !ok {
			w.t.Errorf("%s is in the book and nobody was told", made.Key)
		}
	}
	for key, n := range times {
		if n != 1 {
			w.t.Errorf("%s is in the book %d times", key, n)
		}
	}
	w.checkMoney(all)
	w.verify()
}

// load has a caller post transfers one after the other, every fourth time some
// in one call, until there is no answer or enough was asked for.
func (w *witness) load(b book, name string, callers, calls int) {
	var under sync.WaitGroup
	for caller := range callers {
		under.Go(func() {
			for i := range calls {
				if !w.post(b, w.orderOf(fmt.Sprintf("%s:%d", name, caller), caller, i)) {
					return
				}
			}
		})
	}
	under.Wait()
}

// bulk is how many transfers one call of Submit makes.
const bulk = 5

func (w *witness) orderOf(prefix string, caller, i int) order {
	credits := []ledger.Account{w.payee, w.hot}
	one := func(j int) ledger.Request {
		return transfer(fmt.Sprintf("%s:%d:%d", prefix, i, j), w.cash, credits[(caller+i)%2], ledger.Amount(1+(caller+i+j)%9))
	}
	if i%4 != 3 {
		return order{Requests: []ledger.Request{one(0)}}
	}
	var o order
	for j := range bulk {
		o.Requests = append(o.Requests, one(j))
	}
	return o
}
