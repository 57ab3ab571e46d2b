package reconciliation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tweetledger/ledger"
)

func allMatchers() []Matcher {
	return []Matcher{ExactReference(), BatchReference(), AmountDateCounterparty(2), WithinTolerance(5, 2), Suggested(2)}
}

func namesOf(items []Item) string {
	var names []string
	for _, item := range items {
		names = append(names, item.Source)
	}
	return strings.Join(names, "+")
}

// story runs a pipeline and tells what it said, in its order.
func story(t testing.TB, p Pipeline, inside, outside []Item) (told []string, hash string) {
	t.Helper()
	sink := Sink{
		Matched: func(m string, in, out []Item) error {
			told = append(told, fmt.Sprintf("%s: %s = %s", m, namesOf(in), namesOf(out)))
			return nil
		},
		Suggested: func(m string, in, out Item) error {
			told = append(told, fmt.Sprintf("%s: %s ~ %s", m, in.Source, out.Source))
			return nil
		},
		Left: func(i Item) error { told = append(told, "left: "+i.Source); return nil },
	}
	hash, err := p.Run(t.Context(), items(inside), items(outside), sink)
	if err != nil {
		t.Fatal(err)
	}
	return told, hash
}

func on(n int) ledger.Date { return ledger.Date{Year: 2026, Month: 11, Day: 1}.AddDays(n) }

func TestPipelineTriesMatchersInOrder(t *testing.T) {
	item := func(source, reference, batch, party string, amount ledger.Amount, d int) Item {
		return Item{Source: source, Reference: reference, Batch: batch, Counterparty: party, Amount: amount, Currency: ledger.EUR, Date: on(d)}
	}
	for name, c := range map[string]struct {
		inside, outside []Item
		want            []string
	}{
		"exact reference": {
			[]Item{item("a", "r1", "", "p", 100, 0), item("b", "r2", "", "", 100, 0)},
			[]Item{item("x", "r1", "", "p", 100, 20), item("y", "r2", "", "q", 100, 9)},
			[]string{"exact_reference: a = x", "exact_reference: b = y"},
		},
		"who says its party chooses first": {
			[]Item{item("a", "r", "", "", 100, 0), item("b", "r", "", "p", 100, 0)},
			[]Item{item("x", "r", "", "p", 100, 0), item("y", "r", "", "q", 100, 0)},
			[]string{"exact_reference: b = x", "exact_reference: a = y"},
		},
		"one movement for a batch": {
			[]Item{item("a", "1", "B", "p", 100, 0), item("b", "2", "B", "q", 250, 0)}, []Item{item("x", "B", "", "bank", 350, 3)},
			[]string{"batch_reference: a+b = x"},
		},
		"a batch for one": {
			[]Item{item("a", "B", "", "p", 350, 0)}, []Item{item("x", "1", "B", "", 100, 0), item("y", "2", "B", "", 250, 0)},
			[]string{"batch_reference: a = x+y"},
		},
		"a batch that does not add up": {
			[]Item{item("a", "1", "B", "p", 100, 0), item("b", "2", "B", "q", 250, 0)}, []Item{item("x", "B", "", "bank", 351, 9)},
			[]string{"left: a", "left: b", "left: x"},
		},
		"amount, date and party": {
			[]Item{item("a", "r1", "", "p", 100, 0), item("b", "r2", "", "p", 100, 4)},
			[]Item{item("x", "", "", "p", 100, 2), item("y", "", "", "p", 100, 3)},
			[]string{"amount_date_counterparty: a = x", "amount_date_counterparty: b = y"},
		},
		"too far apart": {
			[]Item{item("a", "r1", "", "p", 100, 0)}, []Item{item("x", "", "", "p", 100, 3)},
			[]string{"left: a", "left: x"},
		},
		"within tolerance, the nearest": {
			[]Item{item("a", "r1", "", "p", 100, 0)}, []Item{item("x", "", "", "p", 95, 0), item("y", "", "", "p", 102, 1), item("z", "", "", "p", 106, 0)},
			[]string{"amount_within_tolerance: a = y", "left: x", "left: z"},
		},
		"suggested, and left": {
			[]Item{item("a", "r1", "", "p", 100, 0)}, []Item{item("x", "r9", "", "q", 100, 1)},
			[]string{"suggested: a ~ x", "left: a", "left: x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := story(t, Pipeline{Matchers: allMatchers(), Spill: Spill{Dir: t.TempDir()}}, c.inside, c.outside)
			if !slices.Equal(got, c.want) {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}

// The order in which items come, and how much memory there is, change nothing; and
// each item is told of once.
func TestPipelineIsDeterministic(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		n := 0
		some := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Item {
			n++
			return Item{Reference: rapid.SampledFrom([]string{"", "r1", "r2", "r3", "B1"}).Draw(t, "reference"),
				Batch:        rapid.SampledFrom([]string{"", "", "B1", "r1"}).Draw(t, "batch"),
				Counterparty: rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "party"),
				Amount:       ledger.Amount(rapid.IntRange(-3, 12).Draw(t, "amount")), Currency: rapid.SampledFrom([]ledger.Currency{ledger.EUR, "USD"}).Draw(t, "currency"),
				Date: on(rapid.IntRange(0, 6).Draw(t, "day")), Source: fmt.Sprint("i", n)}
		}), 0, 30)
		inside, outside := some.Draw(t, "inside"), some.Draw(t, "outside")
		run := func(in, out []Item, memory int) ([]string, string, error) {
			var told []string
			seen := map[string]int{}
			hash, err := Pipeline{Matchers: allMatchers(), Spill: Spill{Dir: dir, SortMemory: memory}}.Run(t.Context(), items(in), items(out), Sink{
				Matched: func(m string, in, out []Item) error {
					told = append(told, fmt.Sprintf("%s: %s = %s", m, namesOf(in), namesOf(out)))
					for _, item := range slices.Concat(in, out) {
						seen[string(item.Side)+item.Source]++
					}
					if !bothSides(slices.Concat(in, out)) || !sameCurrency(slices.Concat(in, out)) {
						return fmt.Errorf("matched %v with %v", in, out)
					}
					return nil
				},
				Suggested: func(m string, in, out Item) error {
					told = append(told, fmt.Sprintf("%s: %s ~ %s", m, in.Source, out.Source))
					return nil
				},
				Left: func(i Item) error {
					told = append(told, "left: "+i.Source)
					seen[string(i.Side)+i.Source]++
					return nil
				},
			})
			if len(seen) != len(in)+len(out) {
				return nil, "", fmt.Errorf("%d of %d items were told of", len(seen), len(in)+len(out))
			}
			for name, times := range seen {
				if times != 1 {
					return nil, "", fmt.Errorf("item %s was told of %d times", name, times)
				}
			}
			return told, hash, err
		}
		told, hash, err := run(inside, outside, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		again, hashAgain, err := run(rapid.Permutation(inside).Draw(t, "shuffled inside"), rapid.Permutation(outside).Draw(t, "shuffled outside"), 300)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(told, again) || hash != hashAgain {
			t.Fatalf("first\n%s\nthen\n%s", strings.Join(told, "\n"), strings.Join(again, "\n"))
		}
	})
}

// A counterparty with more items than a window holds costs memory of the window only,
// and is matched all the same where the days are in order.
func TestPipelineKeepsToItsWindow(t *testing.T) {
	var inside, outside []Item
	for i := range 3 * maxWindow {
		item := Item{Counterparty: "p", Amount: ledger.Amount(100 + i%7), Currency: ledger.EUR, Date: on(i / 10), Source: fmt.Sprint("n", i)}
		inside, outside = append(inside, item), append(outside, item)
	}
	told, _ := story(t, Pipeline{Matchers: []Matcher{AmountDateCounterparty(0)}, Spill: Spill{Dir: t.TempDir()}}, inside, outside)
	for _, line := range told {
		if !strings.HasPrefix(line, "amount_date_counterparty: ") {
			t.Fatalf("%d lines, one of them %s", len(told), line)
		}
	}
	if len(told) != len(inside) {
		t.Errorf("%d matches of %d", len(told), len(inside))
	}
}

func TestPipelineEndsWithTheFirstError(t *testing.T) {
	wrong := errors.New("the file is torn")
	torn := func(yield func(Item, error) bool) { yield(Item{}, wrong) }
	p := Pipeline{Matchers: allMatchers(), Spill: Spill{Dir: t.TempDir()}}
	if _, err := p.Run(t.Context(), items(nil), torn, Sink{}); !errors.Is(err, wrong) {
		t.Errorf("a torn source gives %v", err)
	}
	refused := errors.New("no more")
	if _, err := p.Run(t.Context(), items([]Item{{Reference: "r"}}), items(nil), Sink{Left: func(Item) error { return refused }}); !errors.Is(err, refused) {
		t.Errorf("a sink's error gives %v", err)
	}
}
