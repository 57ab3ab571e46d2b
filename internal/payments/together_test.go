package payments_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// crowd makes a world with more customers and rules that are soon met.
func crowd(t *testing.T, db *sqldb.DB) *world {
	t.Helper()
	config := testConfig()
	config.DayAnswers = 4
	rules := &config.Screening
	rules.Velocity, rules.DayCount, rules.DayOrders = payments.VerdictReject, 6, 9
	rules.ManyPayees, rules.ManyPayeesCount = payments.VerdictReview, 2
	rules.NewPayee, rules.NewPayeeAmount = payments.VerdictReview, 30_00
	rules.NearCap, rules.NearCapMargin, rules.NearCapCount = payments.VerdictReview, 20_00, 2
	rules.DeniedIDs = []string{crowdID(5)}
	w := newWorldWith(t, db, config)
	for i := range crowdSize {
		c, err := w.EnrolCustomer(w.ctx, payments.NewCustomer{Name: "Payer", Phone: fmt.Sprintf("+3369999%04d", i)})
		must(t, err)
		must(t, w.LinkCustomer(w.ctx, channel, crowdID(i), fmt.Sprintf("payer_%d", i), c.Number))
		if i == 0 { // one customer, two accounts
			must(t, w.LinkCustomer(w.ctx, channel, crowdID(crowdSize), "payer_0b", c.Number))
		}
		_, err = w.TopUp(w.ctx, c.Number, ledger.Amount(10_00*(1+i)), "charge-"+c.Number)
		must(t, err)
		if i == 4 {
			must(t, w.SetCustomerStatus(w.ctx, c.Number, payments.Blocked, "anne", "a test"))
		}
	}
	return w
}

const crowdSize = 6

func crowdID(i int) string { return fmt.Sprint(700_002_000 + i) }

// story invents what people write: payments of all kinds, and everything else.
type story struct {
	rng  *rand.Rand
	said []payments.Message
	next int
	now  time.Time
}

func (s *story) message() payments.Message {
	pick := func(list ...string) string { return list[s.rng.IntN(len(list))] }
	authors := []string{marie, marie, yoann, stranger}
	for i := range crowdSize + 1 {
		authors = append(authors, crowdID(i), crowdID(i))
	}
	text := fmt.Sprintf("pay %s %s %s", pick("0.01", "3.50", "9.99", "35.00", "235.00", "250.01", "490.00"),
		pick(marie, yoann, acf, bakery, stranger, "700000998"), pick("somebody", "ACF_Frence", "else"))
	switch dice := s.rng.IntN(20); {
	case dice < 2:
		text = pick("refuse two_amounts", "refuse no_payee")
	case dice < 4:
		text = pick("balance", "cancel", "help", "balance!")
	case dice < 6:
		text = pick("bonjour", "secret", "il fait beau")
	}
	s.next++
	s.now = s.now.Add(time.Millisecond)
	m := payments.Message{Channel: channel, ID: fmt.Sprintf("6219391%08d", s.next), AuthorID: pick(authors...), Kind: payments.Original,
		Text: text, Language: pick("fr", "en"), CreatedAt: s.now, Via: "stream"}
	m.FirstID, m.ConversationID = m.ID, m.ID
	switch dice := s.rng.IntN(20); {
	case dice == 0:
		m.Channel, m.Kind = payments.DirectChannel(channel), payments.Direct
	case dice < 4 && len(s.said) > 0: // an edit, a repetition, or somebody else's claim to edit
		old := s.said[max(0, len(s.said)-1-s.rng.IntN(20))]
		if old.Version > 0 || dice == 1 {
			return old
		}
		edit := edited(old, 1, text)
		edit.CreatedAt = s.now
		if dice == 2 && s.rng.IntN(3) == 0 {
			edit.AuthorID = stranger
		}
		m = edit
	case dice == 4:
		m.Text += "\x00"
	}
	s.said = append(s.said, m)
	return m
}

// records tells all that the service has noted of messages, without ids that are chance.
func (w *world) records() []string {
	w.t.Helper()
	var out []string
	add := func(what string, list ...any) { out = append(out, fmt.Sprintf("%s: %+v", what, list)) }
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		out = nil
		messages, err := payments.ListMessages(ctx, tx, payments.MessageFilter{Limit: payments.MaxPage})
		if err != nil {
			return err
		}
		for _, m := range messages {
			asked := payments.Command{}
			if m.Command != nil {
				asked = *m.Command
			}
			m.Command = nil
			add("message", m, asked)
		}
		orders, err := payments.ListOrders(ctx, tx, payments.OrderFilter{Limit: payments.MaxPage})
		if err != nil {
			return err
		}
		for _, o := range orders {
			events, err := payments.OrderEvents(ctx, tx, o.ID)
			if err != nil {
				return err
			}
			hits, err := payments.HitsOfOrder(ctx, tx, o.ID)
			if err != nil {
				return err
			}
			add("order", o.ID, o.Key, o.MessageID, o.Version, o.State, o.Reason, o.PayerUserID, o.PayeeKind, o.PayeeUserID, o.PayeeHandle,
				o.Amount, o.Currency, o.Language, o.HoldID, o.MessageAt, o.CreatedAt, o.ExpiresAt, o.ClosedAt, events, hits)
		}
		rows, err := payments.ListOutbox(ctx, tx, payments.OutboxFilter{Limit: payments.MaxPage})
		for _, r := range rows {
			r.CustomerID, r.Queue = uuid.Nil, "" // which is named after the customer
			add("answer", r)
		}
		return err
	})
	slices.Sort(out)
	return out
}

// TestTogetherIsOneByOne tells two services the same: one gets what people write in
// batches and handles it together, the other message by message. In the end both have
// the same orders, answers, histories and money.
func TestTogetherIsOneByOne(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		stories := uint64(1)
		if db.Engine() == sqldb.SQLite {
			stories = 2
		}
		for seed := range stories {
			together, single := crowd(t, db), crowd(t, sqltest.SQLite(t))
			if seed+1 < stories {
				db = sqltest.SQLite(t)
			}
			s := &story{rng: rand.New(rand.NewPCG(seed, 7)), now: together.clock.Now()}
			for range 3 {
				batch := make([]payments.Message, 60)
				for i := range batch {
					batch[i] = s.message()
				}
				for _, w := range []*world{together, single} { // a deletion comes before its message
					_, err := w.Delete(w.ctx, payments.Deletion{Channel: batch[0].Channel, ID: batch[0].ID, AuthorID: batch[0].AuthorID})
					must(t, err)
				}
				var codes, wantCodes []ledger.Code
				for _, received := range together.ReceiveAll(together.ctx, batch) {
					codes = append(codes, ledger.CodeOf(received.Err))
				}
				if _, err := together.HandlePending(together.ctx, payments.MaxPage); err != nil {
					t.Fatal(err)
				}
				var waiting []payments.Received
				for _, m := range batch {
					received, err := single.Receive(single.ctx, m)
					wantCodes = append(wantCodes, ledger.CodeOf(err))
					if err == nil {
						waiting = append(waiting, received)
					}
				}
				for _, received := range waiting {
					_, err := single.Handle(single.ctx, received.ID)
					must(t, err)
				}
				if !slices.Equal(codes, wantCodes) {
					t.Fatalf("together refused %q, one by one %q", codes, wantCodes)
				}
				for _, w := range []*world{together, single} {
					w.clock.Add(7 * time.Hour)
				}
				s.now = s.now.Add(7 * time.Hour)
			}
			got, want := together.records(), single.records()
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Fatalf("seed %d: together has\n%s\none by one\n%s", seed, got[i], want[i])
				}
			}
			if len(got) != len(want) {
				t.Fatalf("seed %d: together has %d records, one by one %d", seed, len(got), len(want))
			}
			if told := strings.Join(got, "\n"); seed == 0 {
				for _, what := range []string{payments.ReasonVelocityDay, payments.ReasonManyPayees, payments.ReasonNewPayee, payments.ReasonLookAlike, payments.ReasonInsufficientFunds,
					payments.ReasonDenied, payments.ReasonPayerBlocked, payments.ReasonNotCustomer, payments.ReasonAnswerLimit, payments.ReasonLastAnswer,
					string(payments.OutcomeSuperseded), string(payments.OutcomeIgnored), string(payments.OutcomeAnswered), payments.ReasonOverCap} {
					if !strings.Contains(told, what) {
						t.Errorf("the story has no %s", what)
					}
				}
			}
			together.verify()
			single.verify()
		}
	})
}

// TestReceivedTogetherIsHandledInItsOrder sends many commands at once, of which the
// wallet has enough for the first alone.
func TestReceivedTogetherIsHandledInItsOrder(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		batch := make([]payments.Message, 30)
		for i := range batch {
			batch[i] = w.message(marie, fmt.Sprintf("pay %d.00 %s yoann_test", 100+i, yoann))
			batch[i].CreatedAt = w.clock.Now().Truncate(time.Second) // X tells seconds
		}
		for _, received := range w.ReceiveAll(w.ctx, batch) {
			if received.Err != nil || !received.New {
				t.Fatalf("%+v", received)
			}
		}
		// The process ends here. Another one finds what is stored.
		another := w.node(testConfig())
		if handled, err := another.HandlePending(w.ctx, 100); handled != len(batch) || err != nil {
			t.Fatalf("%d handled, %v", handled, err)
		}
		for i, m := range batch {
			w.read(func(ctx context.Context, tx *sqldb.Tx) error {
				orders, err := payments.OrdersOfKey(ctx, tx, payments.OrderKey(channel, m.FirstID))
				if want := map[bool]payments.State{true: payments.StateAwaitingConfirmation, false: payments.StateRejected}[i < 9]; err == nil && (len(orders) != 1 || orders[0].State != want) {
					t.Errorf("message %d made %+v, want one order that is %s", i, orders, want)
				}
				return err
			})
		}
		again, err := another.HandlePending(w.ctx, 100)
		if again != 0 || err != nil {
			t.Errorf("%d handled again, %v", again, err)
		}
	})
}

// TestNodesHandleTheSameTogether lets two processes take the same messages at once: each
// makes one order.
func TestNodesHandleTheSameTogether(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := crowd(t, db)
		config := testConfig()
		config.Screening.ManyPayees, config.Screening.NearCap, config.Screening.LookAlike = payments.VerdictAccept, payments.VerdictAccept, payments.VerdictAccept
		nodes := []*payments.Service{w.node(config), w.node(config)}
		batch := make([]payments.Message, 80)
		for i := range batch {
			batch[i] = w.message(crowdID(i%4), "pay 0.01 "+yoann+" yoann_test")
		}
		for _, received := range w.ReceiveAll(w.ctx, batch) {
			must(t, received.Err)
		}
		var both sync.WaitGroup
		errs := make([]error, len(nodes))
		for i, node := range nodes {
			both.Go(func() { _, errs[i] = node.HandlePending(w.ctx, 400) })
		}
		both.Wait()
		for handled := 1; handled > 0; { // what one has left to the other
			var err error
			handled, err = nodes[0].HandlePending(w.ctx, 400)
			must(t, err)
		}
		for i, m := range batch {
			w.read(func(ctx context.Context, tx *sqldb.Tx) error {
				orders, err := payments.OrdersOfKey(ctx, tx, payments.OrderKey(channel, m.FirstID))
				if err == nil && (len(orders) != 1 || orders[0].State != payments.StateAwaitingConfirmation) {
					t.Errorf("message %d made %+v (the nodes said %v)", i, orders, errs)
				}
				return err
			})
		}
		w.verify()
	})
}

// TestOneOfManyCannotBeStored has the database refuse one message of a batch: it alone
// is left out.
func TestOneOfManyCannotBeStored(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	w.exec("CREATE TRIGGER spoiled BEFORE INSERT ON messages WHEN NEW.text = 'spoiled' BEGIN SELECT RAISE(ABORT, 'spoiled'); END")
	batch := make([]payments.Message, 50)
	for i := range batch {
		batch[i] = w.message(marie, "pay 0.01 "+yoann+" yoann_test")
	}
	batch[17].Text = "spoiled"
	batch[31].AuthorID = "nobody!"
	for i, received := range w.ReceiveAll(w.ctx, batch) {
		switch {
		case i == 17 && (received.Err == nil || ledger.CodeOf(received.Err) != ""):
			t.Errorf("the spoiled message: %v", received.Err)
		case i == 31:
			w.wantCode(received.Err, ledger.CodeInvalid)
		case i != 17 && (received.Err != nil || !received.New):
			t.Errorf("message %d: %+v", i, received)
		}
	}
	if handled, err := w.HandlePending(w.ctx, 100); handled != 48 || err != nil {
		t.Errorf("%d handled, %v", handled, err)
	}
	w.verify()
}

// TestOneOfManyCannotBeHandled spoils messages in the inbox: they alone are put off.
func TestOneOfManyCannotBeHandled(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	batch := make([]payments.Message, 60)
	for i := range batch {
		batch[i] = w.message([]string{marie, yoann}[i%2], "pay 0.01 "+acf+" ACF_France")
	}
	for _, received := range w.ReceiveAll(w.ctx, batch) {
		must(t, received.Err)
	}
	w.exec("UPDATE messages SET mentions = '{}' WHERE message_id IN ($1, $2)", batch[7].ID, batch[40].ID) // no lists
	handled, err := w.HandlePending(w.ctx, 100)
	if handled != 58 || err == nil || strings.Count(err.Error(), "mentions of message") != 2 {
		t.Errorf("%d handled, %v", handled, err)
	}
	if handled, err = w.HandlePending(w.ctx, 100); handled != 0 || err != nil {
		t.Errorf("%d handled again before their time, %v", handled, err)
	}
	w.exec("UPDATE messages SET mentions = '[]' WHERE mentions = '{}'")
	w.clock.Add(time.Hour)
	if handled, err = w.HandlePending(w.ctx, 100); handled != 2 || err != nil {
		t.Errorf("%d handled once they are mended, %v", handled, err)
	}
	w.verify()
}

// TestTogetherReadsByIndex keeps what is asked about messages that are stored or handled
// together from growing with the book. Servers have statistics to choose by; SQLite is
// told.
func TestTogetherReadsByIndex(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	w.ordered(toYoann)
	for _, q := range payments.SetQueries() {
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			plan := ""
			err := tx.EachOfRows(ctx, "EXPLAIN QUERY PLAN "+q.Query, q.Columns, 2, func(int) []any { return q.Row }, func(rows *sqldb.Rows) error {
				var line string
				var id, parent, unused int64
				err := rows.Scan(&id, &parent, &unused, &line)
				plan += line + "\n"
				return err
			})
			wantIndex(t, plan, q.Index)
			if strings.Contains(plan, "(channel=?)") || strings.Contains(plan, "SCAN m") || strings.Contains(plan, "SCAN x") {
				t.Errorf("all of a channel is read:\n%s", plan)
			}
			return err
		})
	}
}
