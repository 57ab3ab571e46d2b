package ledgerbench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Costs are what reading and posting cost at one size of the book.
type Costs struct {
	Postings int64         `json:"postings"` // in the book
	Wanted   int64         `json:"wanted"`   // more than Postings where the time for filling ran out
	FillTime time.Duration `json:"fill_ns"`
	Queries  []QueryCost   `json:"queries"`
	Post     Figures       `json:"post"` // uniform single transfers, by the largest number of callers
}

// QueryCost is what one query costs one caller.
type QueryCost struct {
	Query string        `json:"query"`
	Runs  int           `json:"runs"`
	P50   time.Duration `json:"p50_ns"`
	P99   time.Duration `json:"p99_ns"`
}

// How the book of a growing history is made. Every historyBusy-th transfer goes to
// the busy account, whose history grows with the book. The quiet accounts have
// quietPostings each, all of the first size, and get no more. Transfers of a call
// have one effective date; the dates spread over historyDays until today.
const (
	quietAccounts = 20
	quietPostings = 200
	historyBusy   = 10
	historyRare   = 1000 // every such transfer has a journal, amount, source and metadata to be found by
	historyDays   = 300
	historyCall   = 8000   // transfers in one call
	historyPage   = 50     // rows of a page, as one looks at on a screen
	historyRate   = 10_000 // postings a second, as a guess for the progress
	sealRate      = 50_000 // the same of sealing
	rareJournal   = ledger.JournalMisc
	rareAmount    = ledger.Amount(10_00)
	rareKey       = "campaign"
	rareChannel   = "twitter"
	maxSources    = 10_000 // that the run remembers, to look for them
)

func (b *bench) historySteps() []step {
	var steps []step
	filled := int64(0)
	deadline := time.Time{}
	for _, size := range b.History {
		fill := time.Duration((size-filled)/historyRate) * time.Second
		filled = size
		steps = append(steps,
			step{fmt.Sprintf("filling the book to %d postings", size), min(fill, b.FillTime), func(ctx context.Context) error {
				if deadline.IsZero() {
					deadline = time.Now().Add(b.FillTime)
				}
				return b.fill(ctx, size, deadline)
			}},
			step{fmt.Sprintf("sealing %d postings", size), time.Duration(size/sealRate) * time.Second, b.seal},
			step{fmt.Sprintf("measuring at %d postings", size), time.Duration(len(b.queries())+1) * b.Time, b.measureCosts})
	}
	return steps
}

// fill grows the book to size postings, or until the deadline.
func (b *bench) fill(ctx context.Context, size int64, deadline time.Time) error {
	start := time.Now()
	if len(b.result.History) == 0 {
		if err := b.fillQuiet(ctx); err != nil {
			return err
		}
	}
	today := b.engine.Today()
	first := b.postings()
	for left := size - first; left > 0 && time.Now().Before(deadline); left = size - b.postings() {
		passed := int64(historyDays) * (size - first - left) / (size - first) // days go by as they do in a book
		date := today.AddDays(int(passed) - historyDays + 1)
		requests := make([]ledger.Request, min(left, historyCall))
		for i := range requests {
			debit, credit := b.pick(Uniform, b.random)
			if b.random.IntN(historyBusy) == 0 && debit != 0 {
				credit = 0
			}
			r := b.transfer(debit, credit)
			r.EffectiveDate = date
			if b.random.IntN(historyRare) == 0 {
				b.makeRare(&r)
			}
			requests[i] = r
		}
		if _, err := b.submit(ctx, requests); err != nil {
			return err
		}
		b.notePart(b.postings()-first, size-first)
	}
	b.result.History = append(b.result.History, Costs{Postings: b.postings(), Wanted: size, FillTime: time.Since(start)})
	return nil
}

// seal does what the service's sealer does all the time: the roll-ups that balances
// of past dates are read from are of what is sealed.
func (b *bench) seal(ctx context.Context) error {
	for {
		lease, got, err := b.engine.AcquireLease(ctx, engine.SealerLease, "bench", time.Minute)
		if err != nil {
			return err
		}
		if !got {
			return errors.New("another process seals the book of the benchmark")
		}
		sealed, err := b.engine.Seal(ctx, lease)
		if err != nil || !sealed.More {
			return err
		}
	}
}

// makeRare makes a transfer one of those that lists look for.
func (b *bench) makeRare(r *ledger.PostRequest) {
	_, id, _ := strings.Cut(r.Key, ":")
	r.Journal, r.Postings[0].Amount = rareJournal, rareAmount
	r.Metadata = map[string]string{rareKey: id}
	r.Source = ledger.Source{Channel: rareChannel, ID: id, Date: r.EffectiveDate}
	if len(b.sources) < maxSources {
		b.sources = append(b.sources, id)
	}
}

// fillQuiet gives the quiet accounts all the history that they will ever have.
func (b *bench) fillQuiet(ctx context.Context) error {
	today := b.engine.Today()
	for i := range quietPostings {
		date := today.AddDays(-historyDays * (i + 1) / quietPostings)
		requests := make([]ledger.Request, len(b.quiet))
		for j, id := range b.quiet {
			r := b.request(b.accounts[b.random.IntN(len(b.accounts))], id, 1)
			r.EffectiveDate = date
			requests[j] = r
		}
		if _, err := b.submit(ctx, requests); err != nil {
			return err
		}
	}
	return nil
}

// postings of the book: each of its transactions has one.
func (b *bench) postings() int64 { return b.before + b.acknowledged.Load() }

// query is something that a caller reads.
type query struct {
	name string
	run  func(ctx context.Context, tx *sqldb.Tx, r *rand.Rand) error
}

// queries are what is measured at each size. A quiet account shows what the size of
// the book costs; the busy one also what an account's own long history costs.
func (b *bench) queries() []query {
	var all []query
	for _, account := range []struct {
		name string
		pick func(r *rand.Rand) uuid.UUID
	}{
		{"quiet account", func(r *rand.Rand) uuid.UUID { return b.quiet[r.IntN(len(b.quiet))] }},
		{"busy account", func(*rand.Rand) uuid.UUID { return b.accounts[0] }},
	} {
		all = append(all,
			query{"balance, " + account.name, func(ctx context.Context, tx *sqldb.Tx, r *rand.Rand) error {
				_, err := engine.FindBalance(ctx, tx, account.pick(r))
				return err
			}},
			query{"balance as of a date, " + account.name, func(ctx context.Context, tx *sqldb.Tx, r *rand.Rand) error {
				_, err := engine.BalanceAsOf(ctx, tx, account.pick(r), engine.AsOf{EffectiveDate: b.someDay(r)})
				return err
			}},
			query{"statement page, " + account.name, func(ctx context.Context, tx *sqldb.Tx, r *rand.Rand) error {
				id, from := account.pick(r), b.someDay(r)
				if _, err := engine.BalanceAsOf(ctx, tx, id, engine.AsOf{EffectiveDate: from.AddDays(-1)}); err != nil {
					return err
				}
				return list(ctx, tx, engine.TransactionFilter{AccountID: id, From: from})
			}})
	}
	return append(all,
		query{"list of a day", func(ctx context.Context, tx *sqldb.Tx, r *rand.Rand) error {
			day := b.someDay(r)
			return list(ctx, tx, engine.TransactionFilter{From: day, To: day})
		}},
		query{"list of a rare journal", func(ctx context.Context, tx *sqldb.Tx, r *rand.Rand) error {
			return list(ctx, tx, engine.TransactionFilter{Journal: rareJournal, From: b.someDay(r)})
		}},
		query{"list of rare amounts", func(ctx context.Context, tx *sqldb.Tx, r *rand.Rand) error {
			return list(ctx, tx, engine.TransactionFilter{MinAmount: rareAmount, MaxAmount: rareAmount, From: b.someDay(r)})
		}},
		query{"list of a range of amounts", func(ctx context.Context, tx *sqldb.Tx, r *rand.Rand) error {
			return list(ctx, tx, engine.TransactionFilter{MinAmount: rareAmount - 1, MaxAmount: 2 * rareAmount, From: b.someDay(r)})
		}},
		query{"list of a rare channel", func(ctx context.Context, tx *sqldb.Tx, r *rand.Rand) error {
			return list(ctx, tx, engine.TransactionFilter{Source: ledger.Source{Channel: rareChannel}, From: b.someDay(r)})
		}},
		query{"list of a metadata key", func(ctx context.Context, tx *sqldb.Tx, r *rand.Rand) error {
			return list(ctx, tx, engine.TransactionFilter{MetadataKey: rareKey, From: b.someDay(r)})
		}},
		query{"list of a source", func(ctx context.Context, tx *sqldb.Tx, r *rand.Rand) error {
			source := ledger.Source{Channel: rareChannel}
			if len(b.sources) > 0 {
				source.ID = b.sources[r.IntN(len(b.sources))]
			}
			return list(ctx, tx, engine.TransactionFilter{Source: source})
		}})
}

// list reads the first page of a list.
func list(ctx context.Context, tx *sqldb.Tx, f engine.TransactionFilter) error {
	f.Limit = historyPage
	_, err := engine.ListTransactions(ctx, tx, f)
	return err
}

// someDay is a day of the history.
func (b *bench) someDay(r *rand.Rand) ledger.Date {
	return b.engine.Today().AddDays(-r.IntN(historyDays))
}

// measureCosts measures at the size that the book was filled to.
func (b *bench) measureCosts(ctx context.Context) error {
	costs := &b.result.History[len(b.result.History)-1]
	for _, q := range b.queries() {
		cost, err := b.measureQuery(ctx, q)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		costs.Queries = append(costs.Queries, cost)
	}
	var err error
	costs.Post, err = b.measure(ctx, aCase{workload: Uniform, method: Engine, callers: slices.Max(b.Callers), bulk: 1})
	return err
}

// measureQuery runs a query again and again for the time of a case, at least once.
func (b *bench) measureQuery(ctx context.Context, q query) (QueryCost, error) {
	b.measured++
	r := rand.New(rand.NewPCG(b.Seed, b.measured*(MaxCallers+1)+2))
	var latencies []time.Duration
	for deadline := time.Now().Add(b.Time); len(latencies) == 0 || (time.Now().Before(deadline) && len(latencies) < maxCalls); {
		began := time.Now()
		err := b.DB.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return q.run(ctx, tx, r) })
		if err != nil {
			return QueryCost{}, err
		}
		latencies = append(latencies, time.Since(began))
	}
	slices.Sort(latencies)
	return QueryCost{Query: q.name, Runs: len(latencies), P50: percentile(latencies, 500), P99: percentile(latencies, 990)}, nil
}
