package reconciliation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Defaults of TweetsParams.
const (
	DefaultChannel = "twitter"
	// DefaultReceiptTerm is longer than the outbox keeps trying when a channel is
	// down for a working day.
	DefaultReceiptTerm = 24 * time.Hour
)

// TweetsParams say what Tweets reconciles.
type TweetsParams struct {
	Channel string // empty: DefaultChannel
	// From and To are Paris dates, inclusive: of the tweets, and of the postings
	// that must have one.
	From, To ledger.Date
	// Settle leaves tweets that are younger than this to the next run: they may
	// still be on their way in.
	Settle time.Duration
	// ReceiptTerm is how long a receipt may wait to be sent; zero: DefaultReceiptTerm.
	ReceiptTerm time.Duration
	// Feed puts tweets that never arrived into the inbox and handles them.
	Feed bool
	// Progress is called now and then, where it is set.
	Progress func(done, total int)
	// Watch, where it is set, is told which references of open breaks were judged.
	Watch Watch
	// Spill is where tweets and postings are sorted that do not fit into memory.
	Spill Spill
}

// tweets is one run of the job.
type tweets struct {
	run      *run
	service  *payments.Service
	parser   payments.Parser
	channel  string
	currency ledger.Currency
	now      time.Time
	params   TweetsParams
	matchers []Matcher
	spill    *spill
	own      *shelf
}

// Tweets reconciles ledger and orders with the tweet history, in both directions:
// what was posted has its tweet, which says the same, and one receipt; what was
// tweeted as a command has its order, or a refusal on record. Orders that were not
// confirmed are no breaks. The parser must be the one that the service uses. With
// Feed it writes to the inbox what never arrived there; otherwise it only reads.
// Both sides are streamed and sorted, on disk where memory does not hold them.
func Tweets(ctx context.Context, s *payments.Service, parser payments.Parser, h History, p TweetsParams) (Result, error) {
	if err := checkPeriod(p.From, p.To); err != nil {
		return Result{}, err
	}
	p.Channel = cmp.Or(p.Channel, DefaultChannel)
	p.ReceiptTerm = cmp.Or(p.ReceiptTerm, DefaultReceiptTerm)
	now := s.Engine().Now()
	t := &tweets{run: newRun(JobTweets, p.From, p.To, "", now), service: s, parser: parser, channel: p.Channel, currency: s.Config().Currency,
		now: now, params: p, matchers: []Matcher{ExactReference(), recordedCommand()}, spill: newSpill(p.Spill)}
	defer t.spill.close()
	t.run.watch = p.Watch
	loc := s.Engine().Location()
	from, to := p.From.Midnight(loc), p.To.AddDays(1).Midnight(loc)
	out, err := t.readHistory(ctx, h, from, to)
	if err != nil {
		return Result{}, err
	}
	t.own = out.own
	in, err := t.readBook(ctx, from, to)
	if err != nil {
		return Result{}, err
	}
	total, done := in.sorter.count+out.sorter.count, 0
	var chunk []*chain
	process := func() error {
		if err := t.judgeAll(ctx, h, chunk); err != nil {
			return err
		}
		chunk = nil
		if p.Progress != nil {
			p.Progress(done, total)
		}
		return nil
	}
	for g, err := range join(in.sorted(), in.key, out.sorted(), out.key) {
		if err != nil {
			return Result{}, fmt.Errorf("join tweets and postings: %w", err)
		}
		done += len(g.a) + len(g.b)
		chunk = append(chunk, newChain(t.channel, g))
		if len(chunk) == chunkSize {
			if err := process(); err != nil {
				return Result{}, err
			}
		}
	}
	if err := process(); err != nil {
		return Result{}, err
	}
	result := t.run.done()
	if p.Feed {
		if err := feed(ctx, s, result.Breaks); err != nil {
			return result, err
		}
	}
	return result, nil
}

// chunkSize is how many edit chains are read from the book at once: some queries
// each, and a few megabytes.
const chunkSize = 500

// recordedCommand accepts what the book alone can vouch for: order and ledger say
// what the inbox noted when the tweet was still there.
func recordedCommand() Matcher {
	return Matcher{Name: "recorded_command", Accepts: agree}
}

func (t *tweets) keyOf(m payments.Message) string { return payments.OrderKey(t.channel, m.FirstID) }

// posted is the trace of a payment in the book: the key of its edit chain, and
// the transaction; Nil where an order says that it was posted.
type posted struct {
	key         string
	transaction uuid.UUID
}

func byTransaction(b []byte, p posted) []byte { return append(b, p.transaction[:]...) }

func appendPosted(b []byte, p posted) []byte { return append(append(b, p.transaction[:]...), p.key...) }

func readPosted(value []byte) (posted, error) {
	if len(value) < len(uuid.UUID{}) {
		return posted{}, errors.New("a posting was not read back")
	}
	return posted{key: string(value[len(uuid.UUID{}):]), transaction: uuid.UUID(value[:len(uuid.UUID{})])}, nil
}

// readBook collects the postings of the period that say they came from the
// channel, and the orders that say they were posted in it.
func (t *tweets) readBook(ctx context.Context, from, to time.Time) (*side[posted], error) {
	var in *side[posted]
	err := t.service.Engine().DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if in != nil {
			in.sorter.drop() // the transaction runs again
		}
		in = &side[posted]{sorter: sorter{spill: t.spill}, key: func(p posted) string { return p.key }, within: byTransaction, encode: appendPosted, decode: readPosted}
		if err := t.readPostings(ctx, tx, in); err != nil {
			return err
		}
		return t.readPostedOrders(ctx, tx, in, from, to)
	})
	if err != nil {
		return nil, fmt.Errorf("read the book: %w", err)
	}
	return in, nil
}

// bookPage bounds the rows that are read at once.
const bookPage = 1_000

func (t *tweets) readPostings(ctx context.Context, tx *sqldb.Tx, in *side[posted]) error {
	f := engine.TransactionFilter{From: t.params.From, To: t.params.To, Limit: bookPage}
	for {
		page, err := engine.ListTransactions(ctx, tx, f)
		if err != nil {
			return err
		}
		for _, txn := range page {
			if txn.Source.Channel != t.channel || txn.Reverses != uuid.Nil {
				continue
			}
			if err := in.add(posted{payments.OrderKey(t.channel, txn.Source.ID), txn.ID}); err != nil {
				return err
			}
		}
		if len(page) < bookPage {
			return nil
		}
		f.After = page[len(page)-1].Place
	}
}

// readPostedOrders looks as far back as an order can wait: for its payee to
// register, then for its confirmation.
func (t *tweets) readPostedOrders(ctx context.Context, tx *sqldb.Tx, in *side[posted], from, to time.Time) error {
	config := t.service.Config()
	f := payments.OrderFilter{State: payments.StatePosted, From: from.Add(-config.UnclaimedTerm - config.ConfirmationTerm), To: to, Limit: bookPage}
	for {
		page, err := payments.ListOrders(ctx, tx, f)
		if err != nil {
			return err
		}
		for _, o := range page {
			if o.Channel != t.channel || o.EffectiveDate.Before(t.params.From) || t.params.To.Before(o.EffectiveDate) {
				continue
			}
			if err := in.add(posted{o.Key, uuid.Nil}); err != nil {
				return err
			}
		}
		if len(page) < bookPage {
			return nil
		}
		f.After = page[len(page)-1].Cursor()
	}
}

// feed puts the tweets of breaks into the inbox and notes what became of them. A
// tweet that the inbox refuses stays a break and says why.
func feed(ctx context.Context, s *payments.Service, breaks []Break) error {
	for i := range breaks {
		b := &breaks[i]
		if b.Tweet == nil {
			continue
		}
		received, err := s.Receive(ctx, *b.Tweet)
		var handled payments.Handled
		if err == nil {
			handled, err = s.Handle(ctx, received.ID)
		}
		switch ledger.CodeOf(err) {
		case "", ledger.CodeUnavailable:
			if err != nil {
				return fmt.Errorf("feed tweet %s into the inbox: %w", b.Tweet.ID, err)
			}
		default:
			b.Fed = "refused: " + err.Error()
			continue
		}
		b.Fed = string(handled.Outcome)
		if handled.Reason != "" {
			b.Fed += ": " + handled.Reason
		}
		if handled.Order != nil {
			b.Fed = fmt.Sprintf("order %s, %s", handled.Order.Reference(), handled.Order.State)
		}
	}
	return nil
}
