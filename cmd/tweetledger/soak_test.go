package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// TestSoak lets people tweet while everything goes wrong that can: tweets cut, lost,
// doubled, held back and out of order, silence, refusals, lost answers, forgeries,
// edits, deletions, suspended accounts, and a service whose process is killed (SIGKILL) again and again.
// In the end each command has exactly one order, each order its answers exactly once,
// the book verifies and reconciles without breaks.
//
// go test plays 400 tweets, CI 2,000, and 3 kills; fewer under the race detector. TWEETLEDGER_SOAK=100000,20 plays as many as
// it says (tweets, kills; give -timeout), TWEETLEDGER_SOAK_SEED another chance.
func TestSoak(t *testing.T) {
	size := soakSize{tweets: soakTweets, kills: soakKills, seed: 1}
	if err := size.read(os.Getenv); err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	s := newSoak(t, size)
	s.play()
	s.drain()
	s.judge()
}

// soakPatience is what the last answers may take, whatever the size: pauses of an hour
// in fast time, on a loaded machine.
const soakPatience = 5 * time.Minute

type soakSize struct {
	tweets, kills int
	seed          uint64
}

func (z *soakSize) read(getenv func(string) string) error {
	if text := getenv("TWEETLEDGER_SOAK"); text != "" {
		if n, err := fmt.Sscanf(text, "%d,%d", &z.tweets, &z.kills); n != 2 || err != nil || z.tweets < 1 || z.kills < 0 {
			return fmt.Errorf("TWEETLEDGER_SOAK is %q; write it like 100000,20", text)
		}
	}
	if text := getenv("TWEETLEDGER_SOAK_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("TWEETLEDGER_SOAK_SEED: %w", err)
		}
		z.seed = seed
	}
	return nil
}

// fastClock is a clock that runs Factor times as fast as the wall's since Began, when
// it stood at Base.
type fastClock struct {
	Began, Base time.Time
	Factor      time.Duration
}

func (c fastClock) Now() time.Time { return c.Base.Add(time.Since(c.Began) * c.Factor) }

func (c fastClock) After(d time.Duration) <-chan time.Time { return time.After(d / c.Factor) }

// soak is a stage on which everything goes wrong.
type soak struct {
	*stage
	size  soakSize
	clock fastClock
	rng   *rand.Rand
	book  *app                        // the test's own look into it
	now   atomic.Pointer[soakProcess] // nil while none runs
	told  map[string]*soakTweet       // by first id
	order []*soakTweet
	// waiting are those whose last version was not seen in the inbox.
	waiting map[*soakTweet]bool
	kills   int
	hook    string // address of the webhook
	bad     map[string]bool
	payers  int
	orders  soakOrders // what the service is told
	speak   func()     // one thing that somebody says, edits or deletes
}

// soakTweet is what somebody has said, and what has to come of it.
type soakTweet struct {
	firstID, lastID string
	author          string
	direct          bool
	amount          ledger.Amount // of the last version; 0: no order
	versions        int
	deleted         bool
}

const (
	soakPayers = 40
	soakCode   = "135790"
)

// Somebody who is paid and is no customer.
const (
	soakStrangerID = "700000103"
	soakStranger   = "hugo_test"
)

func soakPayer(i int) string { return fmt.Sprint(700_001_000 + i) }

// enrol makes n payers who can pay.
func (s *stage) enrol(n int) { s.enrolWith(n, 2000_00, nil) }

// enrolWith makes n payers with so much in their wallets each, and does more for each.
func (s *stage) enrolWith(n int, balance ledger.Amount, more func(*payments.Service, int, payments.Customer) error) {
	s.t.Helper()
	s.open(func(p *payments.Service) error {
		for i := range n {
			c, err := p.EnrolCustomer(s.ctx, payments.NewCustomer{Name: "Payer", Phone: fmt.Sprintf("+336%08d", i)})
			if err == nil {
				err = p.LinkCustomer(s.ctx, twitter.Channel, soakPayer(i), fmt.Sprintf("payer_%d", i), c.Number)
			}
			if err == nil {
				_, err = p.TopUp(s.ctx, c.Number, balance, "charge-"+c.Number)
			}
			if err == nil {
				err = p.SetSecretCode(s.ctx, c.Number, soakCode, "soak")
			}
			if err == nil && more != nil {
				err = more(p, i, c)
			}
			if err != nil {
				return err
			}
			s.sim.AddUser(soakPayer(i), fmt.Sprintf("payer_%d", i), "")
		}
		s.sim.AddUser(soakStrangerID, soakStranger, "")
		return nil
	})
}

// soakSettings let people pay more, and faster, than customers do.
const soakSettings = "[rules]\nwallet_ceiling = \"1000000.00\"\n[secret]\nmemory_kib = 64\niterations = 1\nparallelism = 1\nworkers = 4\n[screening]\nvelocity = \"accept\"\nmany_payees = \"accept\"\nnear_cap = \"accept\"\n"

func newSoak(t *testing.T, size soakSize) *soak {
	t.Helper()
	s := newSoakStage(t, size, soakPayers)
	s.configure(soakSettings)
	s.enrol(s.payers)
	s.openBook()
	return s
}

// newSoakStage sets the stage for so many payers, whom nobody has enrolled yet.
func newSoakStage(t *testing.T, size soakSize, payers int) *soak {
	t.Helper()
	clock := fastClock{Began: time.Now(), Base: time.Now().UTC().Truncate(time.Second), Factor: soakFactor}
	s := &soak{stage: newStage(t, xsim.Options{Clock: clock.Now, After: clock.After, MaxTweets: 4*size.tweets + 10_000}), size: size, clock: clock, payers: payers,
		rng: rand.New(rand.NewPCG(size.seed, 2)), told: map[string]*soakTweet{}, waiting: map[*soakTweet]bool{}, bad: map[string]bool{}}
	s.speak, s.orders = s.say, soakOrders{XURL: s.xURL, Clock: clock}
	ctx, cancel := context.WithTimeout(t.Context(), soakPatience+time.Duration(size.tweets)*100*time.Millisecond)
	t.Cleanup(cancel)
	s.ctx = ctx
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := s.now.Load()
		if p == nil {
			http.Error(w, "killed", http.StatusServiceUnavailable)
			return
		}
		p.hook.ServeHTTP(w, r)
	}))
	t.Cleanup(hook.Close)
	s.hook = hook.URL
	return s
}

// configure writes the configuration of the service.
func (s *soak) configure(settings string) {
	s.t.Helper()
	if err := os.WriteFile(s.variables["TWEETLEDGER_CONFIG"], []byte(settings), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// openBook has the test look into the book by itself.
func (s *soak) openBook() {
	s.t.Helper()
	s.book = s.app()
	if _, err := s.book.openBook(s.ctx); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := s.book.close(); err != nil {
			s.t.Error(err)
		}
	})
}

// play lets people tweet, and things go wrong.
func (s *soak) play() {
	s.start()
	for i := range s.size.tweets {
		switch {
		case i > 0 && s.size.kills > 0 && i%(s.size.tweets/(s.size.kills+1)+1) == 0:
			s.kill()
			for range 20 { // nobody listens
				s.speak()
			}
			s.start()
		case i == s.size.tweets/2:
			s.subscribe()
		case i%25 == 0:
			s.goWrong()
		}
		if i == s.size.tweets*3/4 {
			s.bad[soakPayer(0)] = true
			s.sim.Suspend(soakPayer(0))
		}
		s.speak()
		if i%100 == 99 {
			s.catchUp(400)
		}
		if i%10_000 == 9_999 {
			s.t.Logf("%d tweets, %d kills, after %v", i+1, s.kills, time.Since(s.clock.Began).Round(time.Second))
		}
	}
}

// subscribe registers the webhook; half of the run goes without.
func (s *soak) subscribe() {
	s.t.Helper()
	config := xsim.WebhookConfig{URL: s.hook + soakXPath, Secret: s.variables[webhookSecretVariable], UserID: stageBank, Shape: xsim.ShapeActivity}
	if s.size.seed%2 == 0 {
		config.Shape = xsim.ShapeAccount
	}
	if err := s.sim.Subscribe(s.ctx, config); err != nil {
		s.t.Fatal(err)
	}
}

// say is one thing that somebody says, edits or deletes, about a few cents.
func (s *soak) say() {
	s.utter(func(string) (string, ledger.Amount) {
		cents := 1 + s.rng.IntN(9)
		spell := []string{"@SmoneyFR #envoyer 0,0%d€ @yoann_test", "@SmoneyFR #don 0,0%d EUR @ACF_France", "merci ! @SmoneyFR #send €0.0%d @yoann_test",
			"@SmoneyFR #envoyer 0,0%d€ @" + soakStranger}
		return fmt.Sprintf(spell[s.rng.IntN(len(spell))], cents), ledger.Amount(cents)
	})
}

// utter is something that somebody says, with the commands that command makes for an author.
func (s *soak) utter(command func(author string) (text string, amount ledger.Amount)) {
	author := soakPayer(s.rng.IntN(s.payers))
	tweet := func(text string, amount ledger.Amount) *soakTweet {
		id := s.sim.Tweet(author, text)
		say := &soakTweet{firstID: id, lastID: id, author: author, amount: amount, versions: 1}
		s.add(say)
		return say
	}
	switch dice := s.rng.IntN(100); {
	case dice < 80:
		tweet(command(author))
	case dice < 84:
		tweet("@SmoneyFR #envoyer 1.000€ @yoann_test", 0)
	case dice < 88:
		tweet("bonjour @SmoneyFR, il fait beau", 0)
	case dice < 92:
		cents := 1 + s.rng.IntN(9)
		id := s.sim.Direct(author, stageBank, fmt.Sprintf("#envoyer 0,0%d€ @yoann_test", cents))
		say := &soakTweet{firstID: id, lastID: id, author: author, direct: true, amount: ledger.Amount(cents), versions: 1}
		s.add(say)
	case len(s.order) == 0:
	default:
		old := s.order[max(0, len(s.order)-1-s.rng.IntN(20))]
		if old.direct || old.deleted || s.bad[old.author] {
			return
		}
		if dice < 96 {
			text, amount := command(old.author)
			if id := s.sim.Edit(old.lastID, text); id != "" {
				old.lastID, old.amount = id, amount
				old.versions++
				s.waiting[old] = true
			}
			return
		}
		old.deleted = true
		s.sim.Delete(old.lastID)
	}
}

// goWrong orders a fault.
func (s *soak) goWrong() {
	few := 1 + s.rng.IntN(3)
	endpoints := []xsim.Endpoint{xsim.EndpointStream, xsim.EndpointMentions, xsim.EndpointSearch, xsim.EndpointCreate, xsim.EndpointRules,
		xsim.EndpointDirectRead, xsim.EndpointDirectSend, xsim.EndpointUsers, xsim.EndpointCompliance, xsim.EndpointLookup}
	endpoint := endpoints[s.rng.IntN(len(endpoints))]
	switch s.rng.IntN(12) {
	case 0:
		s.sim.CutMidTweet(few)
	case 1:
		s.sim.Duplicate(few)
	case 2:
		s.sim.Hold(10 * few)
	case 3:
		s.sim.Release()
	case 4:
		s.sim.Lose(10 * few)
	case 5:
		s.sim.Disconnect()
	case 6:
		s.sim.Silence(true)
		for range 10 {
			s.speak()
		}
		s.sim.Silence(false)
	case 7:
		s.sim.Fail(endpoint, xsim.Failure{Status: http.StatusServiceUnavailable, Times: few})
	case 8:
		s.sim.Fail(endpoint, xsim.Failure{Status: http.StatusTooManyRequests, Times: few, Reset: time.Minute})
	case 9:
		s.sim.LoseAnswers(few)
	case 10:
		s.sim.Forge(few)
	case 11:
		s.sim.Replay()
	}
}

// add remembers what somebody has said.
func (s *soak) add(say *soakTweet) {
	s.told[say.firstID] = say
	s.order = append(s.order, say)
	s.waiting[say] = true
}

// missing counts the tweets whose last version has to come and has not.
func (s *soak) missing() int {
	s.t.Helper()
	var ids []string
	for say := range s.waiting {
		if say.deleted || s.bad[say.author] {
			delete(s.waiting, say)
			continue
		}
		ids = append(ids, say.lastID)
	}
	there := map[string]bool{}
	s.read(func(ctx context.Context, tx *sqldb.Tx) error {
		clear(there)
		query := "SELECT message_id FROM messages WHERE " + tx.AnyText("channel", 1) + " AND " + tx.AnyText("message_id", 2)
		channels := []string{twitter.Channel, payments.DirectChannel(twitter.Channel)}
		return tx.Each(ctx, query, []any{channels, ids}, func(rows *sqldb.Rows) error {
			var id string
			err := rows.Scan(&id)
			there[id] = true
			return err
		})
	})
	for say := range s.waiting {
		if there[say.lastID] {
			delete(s.waiting, say)
		}
	}
	return len(s.waiting)
}

// left counts the messages that wait to be handled and the answers to be sent.
func (s *soak) left() (open, pending int) {
	s.t.Helper()
	s.read(func(ctx context.Context, tx *sqldb.Tx) error {
		err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM messages WHERE handled_at IS NULL", nil, &open)
		if err == nil {
			err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM outbox WHERE status = 'pending'", nil, &pending)
		}
		return err
	})
	return open, pending
}

// unconfirmed returns whether a customer has still to confirm something.
func (s *soak) unconfirmed() bool {
	s.t.Helper()
	var orders []payments.Order
	s.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		orders, err = toConfirm(ctx, tx, s.clock.Now())
		return err
	})
	return len(orders) > 0
}

func (s *soak) read(fn func(context.Context, *sqldb.Tx) error) {
	s.t.Helper()
	if err := s.book.db.Read(s.ctx, fn); err != nil {
		s.t.Fatal(err)
	}
}

// soakLook is how often the test looks at the book: looking costs the service time.
const soakLook = 200 * time.Millisecond

// catchUp waits until no more than most tweets are missing, so that nobody tweets more
// than X lets anybody read back.
func (s *soak) catchUp(most int) {
	s.t.Helper()
	for {
		missing := s.missing()
		if missing <= most {
			return
		}
		if err := pause(s.ctx, soakLook); err != nil {
			s.t.Fatalf("%d tweets are missing, and do not come", missing)
		}
	}
}

// drain ends all faults and waits until there is nothing left to do.
func (s *soak) drain() {
	s.t.Helper()
	s.sim.Release()
	for {
		missing := s.missing()
		open, pending := s.left()
		if missing == 0 && open == 0 && pending == 0 && !s.unconfirmed() {
			if open, pending = s.left(); open == 0 && pending == 0 {
				return
			}
		}
		if err := pause(s.ctx, soakLook); err != nil {
			s.ctx = s.t.Context()
			told := 0
			for _, row := range s.outbox() {
				if row.Status == payments.OutboxPending && told < 10 { // enough to see why
					told++
					s.t.Errorf("%s %s to %q waits: %d tries, next at %v, in doubt %v, %q", row.Kind, row.ID, row.InReplyTo, row.Attempts, row.NextAttemptAt, row.InDoubt, row.LastError)
				}
			}
			s.t.Fatalf("%d tweets are missing, %d messages wait to be handled, %d answers to be sent at %v", missing, open, pending, s.clock.Now())
		}
	}
}
