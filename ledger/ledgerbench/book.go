package ledgerbench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Bounds of the preparation.
const (
	// openTogether is how many accounts are opened in one database transaction: more
	// would hold CockroachDB's locks for seconds.
	openTogether = 2000
	// fundTogether is how many accounts are funded in one call.
	fundTogether = 2000
)

// prepare opens and funds the accounts, and makes the tables of the other methods.
func (b *bench) prepare(ctx context.Context) error {
	report, err := b.engine.Verify(ctx, nil)
	if err != nil {
		return err
	}
	if !report.OK() {
		return fmt.Errorf("the book does not verify before the benchmark has begun: %s", report.Differences[0])
	}
	b.before = report.Transactions
	if b.result.Durability, err = b.durability(ctx); err != nil {
		return err
	}
	if b.result.Version, err = b.version(ctx); err != nil {
		return err
	}
	run := uuid.NewString()[:8] // so that the codes of one run differ from those of another
	source := ledger.Account{ID: uuid.New(), Code: "bench-" + run, Name: "Source of a benchmark", Category: ledger.OwnAccount,
		Side: ledger.Debit, Currency: ledger.EUR, Shards: 1}
	if _, err := b.engine.OpenAccount(ctx, source); err != nil {
		return err
	}
	quiet := 0
	if len(b.History) > 0 {
		quiet = quietAccounts
	}
	ids, err := b.openAccounts(ctx, run, b.Accounts+quiet)
	if err != nil {
		return fmt.Errorf("open accounts: %w", err)
	}
	b.accounts, b.quiet = ids[:b.Accounts], ids[b.Accounts:]
	var fund []ledger.Request
	for i, id := range ids {
		fund = append(fund, b.request(source.ID, id, funding))
		if len(fund) < fundTogether && i < len(ids)-1 {
			continue
		}
		if made, err := b.submit(ctx, fund); err != nil || made < len(fund) {
			return fmt.Errorf("fund the accounts: %d of %d transfers were made: %w", made, len(fund), err)
		}
		fund = nil
	}
	return b.makeTables(ctx)
}

// accountCopy is what differs between an account and the one that it is opened like.
func accountCopy() []sqldb.Column {
	return []sqldb.Column{{Name: "id", Type: "uuid"}, {Name: "code", Type: "text"}, {Name: "like_id", Type: "uuid"}}
}

// openAccounts opens n wallets. On servers the engine opens the first and the others
// are written like it, set-wise: one by one, ten thousand take CockroachDB a minute.
func (b *bench) openAccounts(ctx context.Context, run string, n int) ([]uuid.UUID, error) {
	zero := ledger.Amount(0)
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.New()
	}
	code := func(i int) string { return fmt.Sprintf("bench-%s-%d", run, i) }
	open := func(ctx context.Context, tx *sqldb.Tx, i int) error {
		_, err := b.engine.OpenAccountTx(ctx, tx, ledger.Account{ID: ids[i], Code: code(i), Name: "Account of a benchmark",
			Category: ledger.CustomerEMoney, Side: ledger.Credit, Currency: ledger.EUR, Shards: 1, Min: &zero})
		return err
	}
	for start := 0; start < n; start += openTogether {
		end := min(start+openTogether, n)
		err := b.DB.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			first := start
			for ; first < end && (first == 0 || tx.Engine() == sqldb.SQLite); first++ {
				if err := open(ctx, tx, first); err != nil {
					return err
				}
			}
			row := func(i int) []any { return []any{ids[first+i], code(first + i), ids[0]} }
			if _, err := tx.ExecRows(ctx, `INSERT INTO accounts (id, code, name, category, side, currency, min_balance, max_balance, shards, status, opened_at)
				SELECT d.id, d.code, a.name, a.category, a.side, a.currency, a.min_balance, a.max_balance, a.shards, a.status, a.opened_at
				FROM ROWS AS d CROSS JOIN accounts AS a WHERE a.id = d.like_id`, accountCopy(), end-first, row); err != nil {
				return err
			}
			_, err := tx.ExecRows(ctx, `INSERT INTO balances (account_no, shard, currency, side, min_balance, max_balance, changed_at)
				SELECT a.no, 0, a.currency, a.side, a.min_balance, a.max_balance, a.opened_at
				FROM ROWS AS d CROSS JOIN accounts AS a WHERE a.id = d.id`, accountCopy(), end-first, row)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// label and journal of the transfers of a benchmark.
const (
	label   = "Transfer of a benchmark"
	journal = ledger.JournalTransfers
)

func (b *bench) request(debit, credit uuid.UUID, amount ledger.Amount) ledger.PostRequest {
	return ledger.PostRequest{Key: b.key(), Journal: journal, Label: label,
		Postings: []ledger.Posting{{Debit: debit, Credit: credit, Amount: amount, Currency: ledger.EUR}}}
}

// transfer is a new transfer of a cent between two accounts.
func (b *bench) transfer(debit, credit int) ledger.PostRequest {
	return b.request(b.accounts[debit], b.accounts[credit], 1)
}

// firstSnowflake is the id of a tweet at an instant: milliseconds since Twitter's
// own epoch in the high bits.
func firstSnowflake(at time.Time) int64 {
	const twitterEpoch, lowBits = 1288834974657, 22
	return (at.UnixMilli() - twitterEpoch) << lowBits
}

// key makes a new idempotency key, in the form of those of orders by tweet. Those
// of a later run are greater: no run makes four thousand million keys a second.
func (b *bench) key() string { return "twitter:" + strconv.FormatInt(b.snowflake.Add(1), 10) }

// write is one call of a case: it returns how many transfers were committed.
type write func(ctx context.Context, r *rand.Rand) (int, error)

// writer returns what one call of a case does.
func (b *bench) writer(ctx context.Context, c aCase) (write, error) {
	switch c.method {
	case Engine:
		return func(ctx context.Context, r *rand.Rand) (int, error) {
			if c.bulk == 1 {
				debit, credit := b.pick(c.workload, r)
				return b.post(ctx, b.transfer(debit, credit))
			}
			requests := make([]ledger.Request, c.bulk)
			for i := range requests {
				debit, credit := b.pick(c.workload, r)
				requests[i] = b.transfer(debit, credit)
			}
			return b.submit(ctx, requests)
		}, nil
	case Naive:
		return func(ctx context.Context, r *rand.Rand) (int, error) { return b.naive(ctx, c, r) }, nil
	case Floor:
		if err := b.emptyFloor(ctx); err != nil {
			return nil, err
		}
		return func(ctx context.Context, r *rand.Rand) (int, error) { return b.floor(ctx, c, r) }, nil
	}
	return nil, fmt.Errorf("there is no method %q", c.method)
}

// maxRepeats bounds how often a caller repeats a request that the ledger could not
// answer. Each time the ledger itself has tried many times already.
const maxRepeats = 5

// post makes one transfer, and repeats it with its key as callers are told to
// where the ledger could not answer. It returns 1, or 0 where it gave up.
func (b *bench) post(ctx context.Context, r ledger.PostRequest) (int, error) {
	for range maxRepeats {
		_, err := b.engine.Post(ctx, r)
		if err == nil {
			b.acknowledged.Add(1)
			return 1, nil
		}
		if ledger.CodeOf(err) != ledger.CodeUnavailable || ctx.Err() != nil {
			return 0, err
		}
		b.repeats.Add(1)
	}
	b.givenUp.Add(1)
	return 0, nil
}

// submit is post for many transfers in one call; it returns how many were made.
func (b *bench) submit(ctx context.Context, requests []ledger.Request) (int, error) {
	made := 0
	for range maxRepeats {
		outcomes, err := b.engine.Submit(ctx, requests)
		if err != nil {
			return made, err
		}
		var again []ledger.Request
		for i, out := range outcomes {
			switch {
			case out.Err == nil:
				made++
				b.acknowledged.Add(1)
			case ledger.CodeOf(out.Err) != ledger.CodeUnavailable || ctx.Err() != nil:
				return made, out.Err
			default:
				again = append(again, requests[i])
			}
		}
		if len(again) == 0 {
			return made, nil
		}
		b.repeats.Add(1)
		requests = again
	}
	b.givenUp.Add(int64(len(requests)))
	return made, nil
}
