package reconciliation

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tweetledger/ledger"
)

// A join of two sides that come in any order has each key once, in order, with
// all that either side has of it.
func TestJoinGroupsBothSides(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.SliceOfN(rapid.StringMatching(`[a-d]{0,2}[0-9]`), 0, 40)
		as, bs := items.Draw(t, "a"), items.Draw(t, "b")
		key := func(s string) string { return strings.TrimRight(s, "0123456789") }
		files := newSpill(Spill{Dir: dir, SortMemory: 1 + rapid.IntRange(0, 200).Draw(t, "memory")})
		defer files.close()
		collect := func(list []string) *side[string] {
			s := textSide(files, key)
			for _, item := range list {
				if err := s.add(item); err != nil {
					t.Fatal(err)
				}
			}
			return s
		}
		a, b := collect(as), collect(bs)
		var got []string
		for g, err := range join(a.sorted(), key, b.sorted(), key) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(g.key, g.a, g.b))
		}
		groups := map[string][2][]string{}
		for i, list := range [][]string{as, bs} {
			for _, item := range slices.Sorted(slices.Values(list)) {
				g := groups[key(item)]
				g[i] = append(g[i], item)
				groups[key(item)] = g
			}
		}
		var keys, want []string
		for k := range groups {
			keys = append(keys, k)
		}
		for _, k := range slices.Sorted(slices.Values(keys)) {
			want = append(want, fmt.Sprint(k, groups[k][0], groups[k][1]))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("groups are %q, want %q", got, want)
		}
	})
}

func textSide(files *spill, key func(string) string) *side[string] {
	return &side[string]{sorter: sorter{spill: files}, key: key, within: orderedText,
		encode: func(b []byte, s string) []byte { return append(b, s...) }, decode: func(b []byte) (string, error) { return string(b), nil }}
}

func TestJoinStopsWithItsReader(t *testing.T) {
	values := func(yield func(string, error) bool) {
		_ = yield("a", nil) && yield("b", nil) && yield("c", nil)
	}
	same := func(s string) string { return s }
	seen := 0
	for range join(values, same, values, same) {
		seen++
		break
	}
	if seen != 1 {
		t.Errorf("saw %d groups after one", seen)
	}
}

func TestJoinRefusesAGroupThatNobodyCanHold(t *testing.T) {
	values := func(yield func(string, error) bool) {
		for range maxGroup + 1 {
			if !yield("a", nil) {
				return
			}
		}
	}
	same := func(s string) string { return s }
	var last error
	for _, err := range join(values, same, func(func(string, error) bool) {}, same) {
		last = err
	}
	if ledger.CodeOf(last) != ledger.CodeLimitExceeded {
		t.Errorf("one too many gives %v", last)
	}
}

func TestRunRefusesMoreBreaksThanAnybodyReads(t *testing.T) {
	r := newRun(JobTweets, ledger.Date{}, ledger.Date{}, "", (&run{}).result.At)
	r.result.Breaks = make([]Break, MaxBreaks)
	if err := r.addBreak(Break{}); ledger.CodeOf(err) != ledger.CodeLimitExceeded {
		t.Errorf("one too many gives %v", err)
	}
}

func TestExactReferenceNeedsBothSidesToAgree(t *testing.T) {
	in := Item{Side: Inside, Amount: 100, Currency: ledger.EUR, Counterparty: "a"}
	out := Item{Side: Outside, Amount: 100, Currency: ledger.EUR, Counterparty: "a"}
	with := func(change func(*Item)) Item {
		changed := out
		change(&changed)
		return changed
	}
	for name, c := range map[string]struct {
		items []Item
		want  bool
	}{
		"agree":              {[]Item{in, out}, true},
		"says no party":      {[]Item{in, with(func(i *Item) { i.Counterparty = "" })}, true},
		"one side":           {[]Item{in, in}, false},
		"other amount":       {[]Item{in, with(func(i *Item) { i.Amount = 99 })}, false},
		"other currency":     {[]Item{in, with(func(i *Item) { i.Currency = "USD" })}, false},
		"other party":        {[]Item{in, with(func(i *Item) { i.Counterparty = "b" })}, false},
		"third source wrong": {[]Item{in, out, with(func(i *Item) { i.Amount = 101 })}, false},
	} {
		if got := ExactReference().Accepts(c.items); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
