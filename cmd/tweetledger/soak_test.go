package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"tweetledger/adapters/notify"
	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// TestSoak lets people tweet while everything goes wrong that can: tweets cut, lost,
// doubled, held back and out of order, silence, refusals, lost answers, forgeries,
// edits, deletions, suspended accounts, and a service that is killed again and again.
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

// fastClock is a clock that runs soakFactor times as fast.
type fastClock struct{ began, base time.Time }

func (c fastClock) Now() time.Time { return c.base.Add(time.Since(c.began) * soakFactor) }

func (c fastClock) After(d time.Duration) <-chan time.Time { return time.After(d / soakFactor) }

// soak is a stage on which everything goes wrong.
type soak struct {
	*stage
	size  soakSize
	clock fastClock
	rng   *rand.Rand
	now   atomic.Pointer[soakProcess] // nil while none runs
	told  map[string]*soakTweet       // by first id
	order []*soakTweet
	kills int
	hook  string // address of the webhook
	bad   map[string]bool
	tried sync.Map // orders whose confirmation was asked for
}

// soakTweet is what somebody has said, and what has to come of it.
type soakTweet struct {
	firstID, lastID string
	author          string
	direct          bool
	amount          ledger.Amount // of the last version; 0: no order
	versions        int
	deleted         bool
	hooked          bool // deleted while the webhook was registered
}

const (
	soakPayers = 40
	soakCode   = "135790"
)

func soakPayer(i int) string { return fmt.Sprint(700_001_000 + i) }

func newSoak(t *testing.T, size soakSize) *soak {
	t.Helper()
	clock := fastClock{began: time.Now(), base: time.Now().UTC().Truncate(time.Second)}
	s := &soak{stage: newStage(t, xsim.Options{Clock: clock.Now, After: clock.After, MaxTweets: 4*size.tweets + 10_000}), size: size, clock: clock,
		rng: rand.New(rand.NewPCG(size.seed, 2)), told: map[string]*soakTweet{}, bad: map[string]bool{}}
	ctx, cancel := context.WithTimeout(t.Context(), soakPatience+time.Duration(size.tweets)*100*time.Millisecond)
	t.Cleanup(cancel)
	s.ctx = ctx
	config := s.variables["TWEETLEDGER_CONFIG"]
	const calm = "[secret]\nmemory_kib = 64\niterations = 1\nparallelism = 1\nworkers = 4\n[screening]\nvelocity = \"accept\"\nmany_payees = \"accept\"\nnear_cap = \"accept\"\n"
	if err := os.WriteFile(config, []byte(calm), 0o600); err != nil {
		t.Fatal(err)
	}
	s.open(func(p *payments.Service) error {
		for i := range soakPayers {
			c, err := p.EnrolCustomer(s.ctx, payments.NewCustomer{Name: "Payer", Phone: fmt.Sprintf("+336%08d", i)})
			if err == nil {
				err = p.LinkCustomer(s.ctx, twitter.Channel, soakPayer(i), fmt.Sprintf("payer_%d", i), c.Number)
			}
			if err == nil {
				_, err = p.TopUp(s.ctx, c.Number, 2000_00, "charge-"+c.Number)
			}
			if err == nil {
				err = p.SetSecretCode(s.ctx, c.Number, soakCode, "soak")
			}
			if err != nil {
				return err
			}
			s.sim.AddUser(soakPayer(i), fmt.Sprintf("payer_%d", i), "")
		}
		return nil
	})
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := s.now.Load()
		if p == nil {
			http.Error(w, "killed", http.StatusServiceUnavailable)
			return
		}
		p.webhook.ServeHTTP(w, r)
	}))
	t.Cleanup(hook.Close)
	s.hook = hook.URL
	return s
}

// soakProcess is the service as "serve" runs it, on fast time.
type soakProcess struct {
	app     *app
	service *payments.Service
	worker  worker
	webhook http.Handler
	wire    *wire
	stop    context.CancelFunc
	ended   chan error
}

// wire is the network of a process: dead when it is killed, the answers that are
// under way included.
type wire struct {
	base http.RoundTripper
	dead atomic.Bool
}

var errKilled = errors.New("the process was killed")

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.dead.Load() {
		return nil, errKilled
	}
	response, err := w.base.RoundTrip(r)
	if err == nil && w.dead.Load() {
		return nil, errors.Join(errKilled, response.Body.Close())
	}
	return response, err
}

// start starts a process.
func (s *soak) start() {
	s.t.Helper()
	a := s.app()
	a.now = s.clock.Now
	service, settings, err := s.service(a)
	if err != nil {
		s.t.Fatal(err)
	}
	settings.Twitter.APIURL, settings.Twitter.Compliance, settings.Twitter.DirectMessages, settings.Twitter.Webhook = s.xURL, true, true, true
	p := &soakProcess{app: a, service: service, wire: &wire{base: &http.Transport{MaxIdleConnsPerHost: 16}}, ended: make(chan error, 1)}
	client, err := twitter.NewClient(twitter.Options{BaseURL: s.xURL, AppToken: twitter.StaticToken(xsim.DefaultAppToken), UserToken: twitter.StaticToken("xsim-user-" + stageBank),
		HTTPClient: &http.Client{Transport: p.wire}, Clock: s.clock.Now, After: s.clock.After})
	if err != nil {
		s.t.Fatal(err)
	}
	p.worker = worker{service: service, client: client, settings: settings, log: slog.New(slog.DiscardHandler), notifier: notify.NewRecorder(io.Discard), woken: make(chan struct{}, 1)}
	if p.webhook, err = p.worker.webhookHandler(); err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(s.ctx)
	p.stop = stop
	group, ctx := errgroup.WithContext(ctx)
	every := func(interval time.Duration, woken chan struct{}, what string, work func(context.Context) (int, error)) {
		group.Go(func() error { return p.worker.repeat(ctx, interval/soakFactor, woken, what, work) })
	}
	every(outboxInterval, nil, "deliver", p.worker.deliver)
	every(inboxInterval, p.worker.woken, "inbox", func(ctx context.Context) (int, error) { return service.HandlePending(ctx, workBatch) })
	every(sweepInterval, nil, "purge", func(ctx context.Context) (int, error) { return service.PurgeDeletions(ctx, workBatch) })
	every(sweepInterval, nil, "confirm", func(ctx context.Context) (int, error) { return 0, s.confirmSome(ctx, p) })
	ways := newWays(p.worker)
	ways.pause = func(ctx context.Context, d time.Duration) error { return pause(ctx, d/soakFactor) }
	group.Go(func() error { return ways.run(ctx) })
	go func() { p.ended <- group.Wait() }()
	s.now.Store(p)
}

// service opens the service with a lease on outgoing rows that is long in fast time:
// on a slow machine a short one would run out while a row is sent.
func (s *soak) service(a *app) (*payments.Service, settings, error) {
	book, err := a.openBook(s.ctx)
	if err != nil {
		return nil, settings{}, err
	}
	set, err := a.settings()
	if err != nil {
		return nil, settings{}, err
	}
	config, err := set.payments()
	if err != nil {
		return nil, settings{}, err
	}
	config.Outbox.Lease = soakFactor * time.Second
	parser, err := twitter.NewParser(set.parser())
	if err != nil {
		return nil, settings{}, err
	}
	service, err := payments.New(book, config, parser, payments.Options{Random: a.random})
	return service, set, err
}

// kill ends the process without letting it finish anything: its network is cut, its
// database goes away under it.
func (s *soak) kill() {
	s.t.Helper()
	p := s.now.Swap(nil)
	p.wire.dead.Store(true)
	closed := make(chan error, 1)
	go func() { closed <- p.app.close() }()
	p.stop()
	for range 2 {
		select {
		case <-p.ended: // with whatever error it met
		case err := <-closed:
			if err != nil {
				s.t.Fatal(err)
			}
		case <-s.ctx.Done():
			s.t.Fatal("a process does not die")
		}
	}
	s.kills++
}

// confirmSome is the customers who confirm: every fifth order.
func (s *soak) confirmSome(ctx context.Context, p *soakProcess) error {
	var waiting []payments.Order
	err := p.app.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		waiting, err = payments.ListOrders(ctx, tx, payments.OrderFilter{State: payments.StateAwaitingConfirmation, From: s.clock.Now().Add(-10 * time.Minute), Limit: payments.MaxPage})
		return err
	})
	for _, o := range waiting {
		if o.ID[0]%5 != 0 || err != nil {
			continue
		}
		if _, again := s.tried.LoadOrStore(o.ID, true); again {
			continue
		}
		_, confirmErr := p.service.Confirm(ctx, payments.ConfirmRequest{OrderID: o.ID, Code: soakCode, Actor: "soak"})
		if confirmErr != nil {
			s.tried.Delete(o.ID)
		}
		if code := ledger.CodeOf(confirmErr); confirmErr != nil && code != ledger.CodeConflict {
			return confirmErr
		}
	}
	return err
}

// play lets people tweet, and things go wrong.
func (s *soak) play() {
	s.start()
	for i := range s.size.tweets {
		switch {
		case i > 0 && s.size.kills > 0 && i%(s.size.tweets/(s.size.kills+1)+1) == 0:
			s.kill()
			for range 20 { // nobody listens
				s.say()
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
		s.say()
		if i%100 == 99 {
			s.catchUp(400)
		}
	}
}

// subscribe registers the webhook; half of the run goes without.
func (s *soak) subscribe() {
	s.t.Helper()
	config := xsim.WebhookConfig{URL: s.hook, Secret: s.variables[webhookSecretVariable], UserID: stageBank, Shape: xsim.ShapeActivity}
	if s.size.seed%2 == 0 {
		config.Shape = xsim.ShapeAccount
	}
	if err := s.sim.Subscribe(s.ctx, config); err != nil {
		s.t.Fatal(err)
	}
}

// say is one thing that somebody says, edits or deletes.
func (s *soak) say() {
	author := soakPayer(s.rng.IntN(soakPayers))
	cents := 1 + s.rng.IntN(9)
	command := func(cents int) string {
		spell := []string{"@SmoneyFR #envoyer 0,0%d€ @yoann_test", "@SmoneyFR #don 0,0%d EUR @ACF_France", "merci ! @SmoneyFR #send €0.0%d @yoann_test"}
		return fmt.Sprintf(spell[s.rng.IntN(len(spell))], cents)
	}
	tweet := func(text string, amount ledger.Amount) *soakTweet {
		id := s.sim.Tweet(author, text)
		say := &soakTweet{firstID: id, lastID: id, author: author, amount: amount, versions: 1}
		s.told[id] = say
		s.order = append(s.order, say)
		return say
	}
	switch dice := s.rng.IntN(100); {
	case dice < 80:
		tweet(command(cents), ledger.Amount(cents))
	case dice < 84:
		tweet("@SmoneyFR #envoyer 1.000€ @yoann_test", 0)
	case dice < 88:
		tweet("bonjour @SmoneyFR, il fait beau", 0)
	case dice < 92:
		id := s.sim.Direct(author, stageBank, fmt.Sprintf("#envoyer 0,0%d€ @yoann_test", cents))
		say := &soakTweet{firstID: id, lastID: id, author: author, direct: true, amount: ledger.Amount(cents), versions: 1}
		s.told[id] = say
		s.order = append(s.order, say)
	case len(s.order) == 0:
	default:
		old := s.order[max(0, len(s.order)-1-s.rng.IntN(20))]
		if old.direct || old.deleted || s.bad[old.author] {
			return
		}
		if dice < 96 {
			if id := s.sim.Edit(old.lastID, command(cents)); id != "" {
				old.lastID, old.amount = id, ledger.Amount(cents)
				old.versions++
			}
			return
		}
		old.deleted, old.hooked = true, len(s.order) > s.size.tweets/2+50
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
			s.say()
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

// inbox counts messages by first id, and those that wait.
func (s *soak) inbox() (there map[string]bool, open, pending int) {
	s.t.Helper()
	there = map[string]bool{}
	err := s.now.Load().app.db.Read(s.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		clear(there)
		err := tx.Each(ctx, "SELECT DISTINCT message_id FROM messages", nil, func(rows *sqldb.Rows) error {
			var id string
			err := rows.Scan(&id)
			there[id] = true
			return err
		})
		if err == nil {
			err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM messages WHERE handled_at IS NULL", nil, &open)
		}
		if err == nil {
			err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM outbox WHERE status = 'pending'", nil, &pending)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return there, open, pending
}

// missing counts the tweets whose last version has to come and has not.
func (s *soak) missing(there map[string]bool) (n int) {
	for _, say := range s.order {
		if !there[say.lastID] && !say.deleted && !s.bad[say.author] {
			n++
		}
	}
	return n
}

// soakLook is how often the test looks at the book: looking costs the service time.
const soakLook = 200 * time.Millisecond

// catchUp waits until no more than most tweets are missing, so that nobody tweets more
// than X lets anybody read back.
func (s *soak) catchUp(most int) {
	s.t.Helper()
	for {
		there, _, _ := s.inbox()
		if s.missing(there) <= most {
			return
		}
		if err := pause(s.ctx, soakLook); err != nil {
			s.t.Fatalf("%d tweets are missing, and do not come", s.missing(there))
		}
	}
}

// drain ends all faults and waits until there is nothing left to do.
func (s *soak) drain() {
	s.t.Helper()
	s.sim.Release()
	for {
		there, open, pending := s.inbox()
		missing := s.missing(there)
		if missing == 0 && open == 0 && pending == 0 {
			if err := s.confirmSome(s.ctx, s.now.Load()); err != nil {
				s.t.Fatal(err)
			}
			if _, _, pending = s.inbox(); pending == 0 {
				return
			}
		}
		if err := pause(s.ctx, soakLook); err != nil {
			s.ctx = s.t.Context()
			told := 0
			for _, row := range s.outbox(s.now.Load()) {
				if row.Status == payments.OutboxPending && told < 10 { // enough to see why
					told++
					s.t.Errorf("%s %s to %q waits: %d tries, next at %v, in doubt %v, %q", row.Kind, row.ID, row.InReplyTo, row.Attempts, row.NextAttemptAt, row.InDoubt, row.LastError)
				}
			}
			s.t.Fatalf("%d tweets are missing, %d messages wait to be handled, %d answers to be sent at %v", missing, open, pending, s.clock.Now())
		}
	}
}

// judge looks at what has become of it all.
func (s *soak) judge() {
	s.t.Helper()
	p := s.now.Load()
	orders, rows := s.orders(p), s.outbox(p)
	for _, say := range s.order {
		s.judgeOrders(say, orders[say.firstID])
	}
	s.judgeAnswers(rows)
	err := p.app.db.Read(s.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Each(ctx, "SELECT first_id, deleted_at, CASE WHEN text IS NULL THEN 0 ELSE 1 END FROM messages", nil, func(rows *sqldb.Rows) error {
			var firstID string
			var deletedAt time.Time
			var text int
			err := rows.Scan(&firstID, &deletedAt, &text)
			if say := s.told[firstID]; text == 1 && (!deletedAt.IsZero() || say != nil && say.deleted && say.hooked) {
				s.t.Errorf("the text of tweet %s, which was deleted, is still here", firstID)
			}
			return err
		})
	})
	if err != nil {
		s.t.Error(err)
	}
	p.stop()
	<-p.ended
	if err := p.app.close(); err != nil {
		s.t.Error(err)
	}
	history := s.history()
	s.runAt(s.clock.Now(), "verify")
	s.judgeReconciliation(history)
	s.t.Logf("%d tweets and messages, %d orders, %d answers, %d kills", len(s.order), len(orders), len(rows), s.kills)
}

// judgeReconciliation wants no break but what is one: receipts that nobody can send,
// since X takes no reply to a tweet that is gone, and edits after the confirmation.
func (s *soak) judgeReconciliation(history string) {
	s.t.Helper()
	var out, complaints strings.Builder
	env := steered(s.clock.Now(), strings.NewReader(""), &out, &complaints, s.getenv)
	code := run(s.ctx, []string{"reconcile", "tweets", "--history", history, "--format", "csv", "--from", ledger.DateIn(s.clock.base, time.UTC).AddDays(-2).String()}, env)
	if code != exitOK && code != exitBreaks {
		s.t.Fatalf("reconcile: exit code %d: %s", code, complaints.String())
	}
	for _, line := range strings.Split(out.String(), "\n") {
		fields := strings.Split(line, ",")
		if fields[0] != "break" {
			continue
		}
		say := s.told[strings.TrimPrefix(fields[2], "twitter:")]
		switch {
		case say != nil && fields[1] == "missing_outside" && (say.deleted || s.bad[say.author]):
		case say != nil && fields[1] == "edited_after_confirmation" && say.versions > 1:
		default:
			s.t.Error(line)
		}
	}
}

// judgeOrders wants exactly one order of a command, whatever happened to its tweet.
func (s *soak) judgeOrders(say *soakTweet, orders []payments.Order) {
	var alive []payments.Order
	for _, o := range orders {
		if o.State != payments.StateVoided {
			alive = append(alive, o)
		}
	}
	switch {
	case say.deleted || s.bad[say.author]: // it may never have come
		if len(alive) > 1 {
			s.t.Errorf("tweet %s has %d orders", say.firstID, len(alive))
		}
	case say.amount == 0:
		if len(orders) != 0 {
			s.t.Errorf("tweet %s is no command and has %d orders", say.firstID, len(orders))
		}
	case len(alive) != 1 || len(orders) > say.versions:
		s.t.Errorf("tweet %s of %d versions has %d orders, %d of them alive", say.firstID, say.versions, len(orders), len(alive))
	case alive[0].Amount != say.amount && alive[0].State != payments.StatePosted:
		s.t.Errorf("tweet %s asks for %d and has an order over %d", say.firstID, say.amount, alive[0].Amount)
	}
}

// judgeAnswers wants what the outbox has sent to be on X exactly once, and nothing
// else; given up may be only what answers a tweet that is gone.
func (s *soak) judgeAnswers(rows []payments.OutboxRow) {
	onX := map[string]int{}
	for _, r := range s.sim.Replies() {
		if r.AuthorID == stageBank {
			onX[r.InReplyTo+" "+r.Text]++
		}
	}
	for i := range soakPayers {
		for _, d := range s.sim.Directs(soakPayer(i)) {
			onX[d.To+" "+d.Text]++
		}
	}
	gone := map[string]bool{}
	for _, say := range s.order {
		if say.deleted || s.bad[say.author] {
			gone[say.firstID], gone[say.lastID] = true, true
		}
	}
	answered := map[string]int{}
	for _, row := range rows {
		key := row.InReplyTo + " " + row.Text
		if row.Kind == payments.OutboxDirectMessage {
			key = row.RecipientID + " " + row.Text
		}
		if row.Kind == payments.OutboxNotice {
			continue
		}
		answered[row.InReplyTo+" "+row.Template]++
		switch {
		case row.Status == payments.OutboxSent:
			if onX[key]--; onX[key] < 0 {
				s.t.Errorf("row %s says that it was sent, and it is not on X: %s", row.ID, key)
			}
		case !s.isGone(row, gone):
			s.t.Errorf("row %s (%s) was given up: %s", row.ID, key, row.LastError)
		}
	}
	for key, n := range onX {
		if n > 0 && !gone[strings.Fields(key)[0]] {
			s.t.Errorf("said %d times too often: %s", n, key)
		}
	}
	for key, n := range answered {
		if n > 1 {
			s.t.Errorf("%d answers to %s", n, key)
		}
	}
}

// isGone reports whether a row answers what nobody can answer any more.
func (s *soak) isGone(row payments.OutboxRow, gone map[string]bool) bool {
	if gone[row.InReplyTo] || s.bad[row.RecipientID] {
		return true
	}
	for _, say := range s.order { // a version between the first and the last
		if say.versions > 2 && (say.deleted || s.bad[say.author]) {
			return true
		}
	}
	return false
}

// orders returns all orders by the first id of their message.
func (s *soak) orders(p *soakProcess) map[string][]payments.Order {
	s.t.Helper()
	found := map[string][]payments.Order{}
	after := payments.Cursor{}
	for {
		var page []payments.Order
		err := p.app.db.Read(s.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			page, err = payments.ListOrders(ctx, tx, payments.OrderFilter{After: after, Limit: payments.MaxPage})
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, o := range page {
			found[o.FirstID] = append(found[o.FirstID], o)
			after = o.Cursor()
		}
		if len(page) < payments.MaxPage {
			return found
		}
	}
}

// outbox returns all of the outbox.
func (s *soak) outbox(p *soakProcess) []payments.OutboxRow {
	s.t.Helper()
	var found []payments.OutboxRow
	seen := map[uuid.UUID]bool{}
	after := payments.Cursor{}
	for {
		var page []payments.OutboxRow
		err := p.app.db.Read(s.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			page, err = payments.ListOutbox(ctx, tx, payments.OutboxFilter{After: after, Limit: payments.MaxPage})
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, row := range page {
			if !seen[row.ID] {
				found = append(found, row)
			}
			seen[row.ID], after = true, row.Cursor()
		}
		if len(page) < payments.MaxPage {
			return found
		}
	}
}

// history writes what X still shows into a file, for reconciliation: the newest
// version of each tweet, and what the bank has answered.
func (s *soak) history() string {
	s.t.Helper()
	file, err := os.Create(filepath.Join(s.t.TempDir(), "history.jsonl"))
	if err != nil {
		s.t.Fatal(err)
	}
	var ids []string
	for _, say := range s.order {
		if !say.direct {
			ids = append(ids, say.firstID)
			if say.lastID != say.firstID {
				ids = append(ids, say.lastID)
			}
		}
	}
	for _, reply := range s.sim.Replies() {
		ids = append(ids, reply.ID)
	}
	const fields = "&tweet.fields=author_id,conversation_id,created_at,edit_history_tweet_ids,entities,lang,note_tweet,referenced_tweets&expansions=author_id,entities.mentions.username"
	for len(ids) > 0 {
		page := ids[:min(100, len(ids))]
		ids = ids[len(page):]
		var w *httptest.ResponseRecorder
		for try := 0; w == nil || w.Code != http.StatusOK; try++ { // the last faults are still on order
			if try > 10 {
				s.t.Fatalf("look-up: %d %s", w.Code, w.Body)
			}
			r := httptest.NewRequest(http.MethodGet, "/2/tweets?ids="+strings.Join(page, ",")+fields, nil)
			r.Header.Set("Authorization", "Bearer "+xsim.DefaultAppToken)
			w = httptest.NewRecorder()
			s.sim.ServeHTTP(w, r)
		}
		if _, err := file.Write(w.Body.Bytes()); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		s.t.Fatal(err)
	}
	return file.Name()
}
