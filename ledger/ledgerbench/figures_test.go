package ledgerbench

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tweetledger/ledger"
)

func TestPercentile(t *testing.T) {
	upTo := func(n int) []time.Duration {
		list := make([]time.Duration, n)
		for i := range list {
			list[i] = time.Duration(i + 1)
		}
		return list
	}
	for _, test := range []struct {
		n, perMille int
		want        time.Duration
	}{
		{0, 500, 0}, {1, 500, 1}, {1, 999, 1}, {2, 500, 1}, {3, 500, 2}, {100, 990, 99}, {100, 999, 100}, {1000, 999, 999}, {1001, 999, 1000},
	} {
		if got := percentile(upTo(test.n), test.perMille); got != test.want {
			t.Errorf("the latency that %d‰ of %d calls do not exceed is %d; want %d", test.perMille, test.n, got, test.want)
		}
	}
}

func TestHundredths(t *testing.T) {
	for h, want := range map[Hundredths]string{0: "0.00", 7: "0.07", 250: "2.50", 1234567: "12345.67"} {
		if got, err := json.Marshal(h); err != nil || string(got) != want || h.String() != want {
			t.Errorf("%d hundredths are %s in JSON (%v) and %s; want %s", int64(h), got, err, h, want)
		}
	}
}

// The engine stands beside the naive way with as many callers, and the floor with
// as many callers and transfers a call; its single transfers beside the fastest floor.
func TestRate(t *testing.T) {
	all := []Figures{
		{Workload: Uniform, Method: Engine, Callers: 1, Bulk: 1, PerSecond: 500},
		{Workload: Uniform, Method: Naive, Callers: 1, Bulk: 1, PerSecond: 1000},
		{Workload: Uniform, Method: Engine, Callers: 4, Bulk: 50, PerSecond: 9000},
		{Workload: Uniform, Method: Naive, Callers: 4, Bulk: 1, PerSecond: 3000},
		{Workload: Uniform, Method: Floor, Callers: 4, Bulk: 50, PerSecond: 18_000},
		{Workload: Uniform, Method: Floor, Callers: 1, Bulk: 2000, PerSecond: 50_000},
		{Workload: Uniform, Method: Engine, Arrivals: 250, Bulk: 1, PerSecond: 250},
		{Workload: Hot1, Method: Engine, Callers: 1, Bulk: 1, PerSecond: 500},
	}
	rate(all)
	type ratios struct{ naive, floor Hundredths }
	want := []ratios{{50, 1}, {}, {300, 50}, {}, {}, {}, {}, {}}
	for i, f := range all {
		if got := (ratios{f.TimesNaive, f.OfFloor}); got != want[i] {
			t.Errorf("%s %s, %d callers, %d a call: ratios %v; want %v", f.Workload, f.Method, f.Callers, f.Bulk, got, want[i])
		}
	}
}

// Each case of the engine stands beside its rivals, once; none has more transfers
// under way than is sensible.
func TestCases(t *testing.T) {
	b := &bench{Options: Options{Callers: []int{1, 256}, Bulk: []int{50, 8000}, BulkCallers: []int{1, 16}}}
	var got []string
	for _, c := range b.cases(Hot1) {
		got = append(got, strings.TrimPrefix(c.String(), "hot-1, "))
	}
	want := []string{
		"engine, 1 callers", "naive, 1 callers", "engine, 256 callers", "naive, 256 callers",
		"engine, 1 callers, 50 transfers a call", "floor, 1 callers, 50 transfers a call",
		"engine, 16 callers, 50 transfers a call", "naive, 16 callers", "floor, 16 callers, 50 transfers a call",
		"engine, 1 callers, 8000 transfers a call", "floor, 1 callers, 8000 transfers a call",
		"floor, 1 callers, 2000 transfers a call", "engine at half of the maximum load",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the cases are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOptionsAreBounded(t *testing.T) {
	good := Options{Accounts: MinAccounts, Callers: []int{1}, Bulk: []int{10}, BulkCallers: []int{1}, Time: time.Second, FillTime: time.Second}
	if err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		field  string
		change func(o *Options)
	}{
		{"accounts", func(o *Options) { o.Accounts = MinAccounts - 1 }},
		{"accounts", func(o *Options) { o.Accounts = MaxAccounts + 1 }},
		{"time", func(o *Options) { o.Time = 0 }},
		{"time", func(o *Options) { o.Time = MaxTime + 1 }},
		{"callers", func(o *Options) { o.Callers = []int{1, 0} }},
		{"callers", func(o *Options) { o.Callers = []int{MaxCallers + 1} }},
		{"bulk", func(o *Options) { o.Bulk = []int{10_001} }},
		{"bulk-callers", func(o *Options) { o.BulkCallers = []int{-1} }},
		{"history", func(o *Options) { o.History = []int64{5, 5} }},
		{"history", func(o *Options) { o.History = []int64{MaxHistory + 1} }},
		{"fill-time", func(o *Options) { o.History, o.FillTime = []int64{5}, 0 }},
		{"callers", func(o *Options) { o.History, o.Callers = []int64{5}, nil }},
	} {
		o := good
		test.change(&o)
		refusal, ok := errors.AsType[*ledger.Error](o.validate())
		if !ok || refusal.Code != ledger.CodeInvalid || refusal.Field != test.field {
			t.Errorf("%+v is refused with %v; want an error in %s", o, refusal, test.field)
		}
	}
}
