package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tweetledger/adapters/card/cardsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// TestStory lets customers with little in their wallets pay each other by tweet, and
// confirm on the service's pages, where cards pay what is missing. Everything goes wrong
// that does in TestSoak, and the acquirer loses requests and answers, delivers its news
// late, twice and never, asks for authentication, declines and charges back. In the end
// there is what TestSoak wants, and every card that was charged has paid into a wallet
// once, or has its money back, to the cent.
//
// go test plays a hundred and fifty commands. TWEETLEDGER_STORY=20000,1000,20 plays as
// many as it says (commands, customers, kills; give -timeout), TWEETLEDGER_SOAK_SEED
// another chance.
func TestStory(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	size, customers := soakSize{tweets: storyCommands, kills: 1, seed: 1}, storyCustomers
	if err := size.read(os.Getenv); err != nil {
		t.Fatal(err)
	}
	size.tweets, size.kills = storyCommands, 1 // not those of TestSoak
	if text := os.Getenv("TWEETLEDGER_STORY"); text != "" {
		n, err := fmt.Sscanf(text, "%d,%d,%d", &size.tweets, &customers, &size.kills)
		if n != 3 || err != nil || size.tweets < 1 || customers < 2 || size.kills < 0 {
			t.Fatalf("TWEETLEDGER_STORY is %q; write it like 20000,1000,20", text)
		}
	}
	t.Logf("seed %d", size.seed)
	s := newStory(t, size, customers)
	s.play()
	s.settle()
	s.drain()
	s.judgeCharges()
	s.judge()
}

// What go test plays.
const (
	storyCommands  = 150
	storyCustomers = 30
)

const (
	storyBalance   = 30_00 // of a wallet at first: cards pay the rest
	storyAutomatic = 100_00
	storyVisitors  = 8 // customers who are on the pages at once
	storyCardKey   = "sk_test_sim"
	storyCardNews  = "whsec_test"
)

// story is a soak whose customers pay by card, on the pages.
type story struct {
	*soak
	cards  *cardsim.Server
	calls  chan string  // tokens of pages that customers are called to
	busy   atomic.Int64 // calls that were not answered yet
	calm   atomic.Bool  // the acquirer makes no faults any more
	posted atomic.Int64 // forms
}

func newStory(t *testing.T, size soakSize, customers int) *story {
	t.Helper()
	s := &story{soak: newSoakStage(t, size, customers), calls: make(chan string, 8*size.tweets+10_000)}
	acquirer := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.cards.ServeHTTP(w, r) }))
	acquirer.Config.SetKeepAlivesEnabled(false) // Go would send a lost request again by itself
	s.cards = cardsim.New(cardsim.Options{Clock: s.clock.Now, SecretKey: storyCardKey, Secret: storyCardNews, URL: func() string { return acquirer.URL }})
	acquirer.Start()
	t.Cleanup(acquirer.Close)
	gateway := httptest.NewServer(http.HandlerFunc(s.call))
	t.Cleanup(gateway.Close)
	s.variables[cardKeyVariable], s.variables[cardWebhookSecretVariable] = storyCardKey, storyCardNews
	s.variables[notifySecretVariable] = strings.Repeat("0f", 32)
	s.configure(fmt.Sprintf("[service]\npage_url = %q\n[notify]\nsms = \"webhook\"\nwebhook_url = %q\n[card]\napi_url = %q\nday_count = 1000\nday_amount = \"100000.00\"\n",
		s.hook+"/confirm", gateway.URL, acquirer.URL) + soakSettings)
	s.orders.Cards, s.speak = true, s.say
	s.enrolWith(customers, storyBalance, s.deal)
	s.openBook()
	ctx, stop := context.WithCancel(s.ctx)
	t.Cleanup(stop)
	go s.acquire(ctx)
	for range storyVisitors {
		go s.visit(ctx)
	}
	return s
}

// deal gives four of five customers a card.
func (s *story) deal(p *payments.Service, i int, c payments.Customer) error {
	if i%5 == 4 {
		return nil
	}
	behaviours := []string{cardsim.BehaviourOK, cardsim.BehaviourOK, cardsim.BehaviourChallenge, cardsim.BehaviourOK, cardsim.BehaviourProcessing, cardsim.BehaviourFunds, cardsim.BehaviourOK, cardsim.BehaviourOther}
	card, err := p.AddCard(s.ctx, c.Number, fmt.Sprintf("pm_sim_%s_%d", behaviours[i%len(behaviours)], i), "story")
	if err == nil {
		_, err = p.AllowAutomaticTopUp(s.ctx, card.ID, storyAutomatic, "story")
	}
	return err
}

// say is one thing that somebody says, mostly that another customer be paid.
func (s *story) say() {
	if s.rng.IntN(40) == 0 {
		s.cards.Inject(cardsim.LoseRequest, cardsim.NoFault, cardsim.LoseAnswer, cardsim.Overload)
	}
	s.utter(func(author string) (string, ledger.Amount) {
		amount := ledger.Amount(1 + s.rng.IntN(60_00))
		other := s.rng.IntN(s.payers)
		if soakPayer(other) == author {
			other = (other + 1) % s.payers
		}
		payee := fmt.Sprintf("payer_%d", other)
		switch s.rng.IntN(12) {
		case 0:
			payee = soakStranger
		case 1, 2:
			payee = "ACF_France"
		}
		return fmt.Sprintf("@SmoneyFR #envoyer %s€ @%s", strings.Replace(amount.Format(ledger.EUR), ".", ",", 1), payee), amount
	})
}

// acquire is the acquirer's side: its news are late, mixed up, doubled and lost, and now
// and then a cardholder disputes a payment.
func (s *story) acquire(ctx context.Context) {
	rng := rand.New(rand.NewPCG(s.size.seed, 3))
	var kept []cardsim.Delivery
	disputed := map[string]bool{}
	client := &http.Client{Timeout: time.Minute}
	for pause(ctx, soakLook) == nil {
		news := slices.Concat(kept, s.cards.Take())
		kept = nil
		rng.Shuffle(len(news), func(i, j int) { news[i], news[j] = news[j], news[i] })
		calm := s.calm.Load()
		for _, d := range news {
			times := 1
			switch dice := rng.IntN(10); {
			case calm:
			case dice == 0:
				times = 0
			case dice == 1:
				times = 2
			case dice == 2:
				kept = append(kept, d)
				continue
			}
			for range times {
				if err := s.cards.Post(ctx, client, s.hook+"/webhooks/card", d); err != nil && calm {
					kept = append(kept, d) // the service is asked until it hears
				}
			}
		}
		if all := s.cards.Payments(); len(all) > 0 && !calm && rng.IntN(4) == 0 {
			if p := all[rng.IntN(len(all))]; p.Received > 0 && !disputed[p.Reference] {
				_, err := s.cards.Dispute(p.Reference)
				disputed[p.Reference] = err == nil
			} else if disputed[p.Reference] {
				_ = s.cards.CloseDispute(p.Reference, rng.IntN(2) == 0) // it may be over
			}
		}
	}
}

// settle has the acquirer work, ends what is disputed, and waits until nobody is on the
// pages and no charge waits for anything.
func (s *story) settle() {
	s.t.Helper()
	s.calm.Store(true)
	s.cards.Heal()
	service, _, err := soakPayments(s.ctx, s.book, time.Minute)
	if err != nil {
		s.t.Fatal(err)
	}
	for round := 0; ; round++ {
		waiting := s.unfinished()
		if waiting == 0 && s.busy.Load() == 0 && s.catchesUp() {
			return
		}
		if round == 0 { // once: to look at all of them takes as long as all of them took
			for _, p := range s.cards.Payments() { // also those of which the news were lost
				_ = s.cards.CloseDispute(p.Reference, true) // most are not disputed
				if err := service.HeardOf(s.ctx, p.Key, p.Reference); err != nil && ledger.CodeOf(err) != ledger.CodeNotFound {
					s.t.Fatal(err)
				}
			}
		}
		if err := pause(s.ctx, soakLook); err != nil {
			s.ctx = s.t.Context()
			s.t.Fatalf("%d charges wait, %d customers are called", s.unfinished(), s.busy.Load())
		}
	}
}

// catchesUp reports whether nothing is left that could call somebody to a page.
func (s *story) catchesUp() bool {
	s.t.Helper()
	open, pending := s.left()
	return s.missing() == 0 && open == 0 && pending == 0 && s.busy.Load() == 0 && s.unfinished() == 0
}

// unfinished counts the charges that wait for something.
func (s *story) unfinished() (n int) {
	s.t.Helper()
	s.read(func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM charges WHERE state IN ('requested', 'challenged', 'succeeded', 'refunding') OR due_at IS NOT NULL", nil, &n)
	})
	return n
}

// judgeCharges holds the book's charges against the acquirer's payments.
func (s *story) judgeCharges() {
	s.t.Helper()
	book := map[string]payments.Charge{}
	states := map[payments.ChargeState]int{}
	for after := (payments.Cursor{}); ; {
		var page []payments.Charge
		s.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
			page, err = payments.ListCharges(ctx, tx, payments.ChargeFilter{After: after, Limit: payments.MaxPage})
			return err
		})
		for _, c := range page {
			book[c.Key], after = c, c.Cursor()
			states[c.State]++
		}
		if len(page) < payments.MaxPage {
			break
		}
	}
	left, charged := ledger.Amount(0), 0
	seen := map[string]bool{}
	for _, p := range s.cards.Payments() {
		c, known := book[p.Key]
		there := ledger.Amount(p.Received - p.Refunded - p.TakenBack)
		left += there
		if p.Received > 0 {
			charged++
		}
		settled := c.State == payments.ChargePosted || c.State == payments.ChargeRefunded || c.State == payments.ChargeDisputed
		switch {
		case !known || seen[p.Key]:
			s.t.Errorf("the acquirer has %+v, which nobody wrote down, or twice", p)
		case (p.Received > 0) != settled:
			s.t.Errorf("the acquirer has %+v; the charge is %s (%s)", p, c.State, c.Reason)
		case c.State == payments.ChargePosted && there != c.Amount, c.State == payments.ChargeRefunded && there > 0:
			s.t.Errorf("the acquirer owes %d for %+v; the charge over %d is %s", there, p, c.Amount, c.State)
		}
		seen[p.Key] = true
	}
	booked := ledger.Amount(s.payers)*storyBalance + 2*1000_00 // marie's and yoann's
	if got := s.balance(payments.AccountCardsToSettle) - booked; got != left {
		s.t.Errorf("the book has %d to be settled by cards, the acquirer %d", got, left)
	}
	if charged == 0 {
		s.t.Error("no card was charged")
	}
	s.t.Logf("%d forms, %d payments at the acquirer, charges %v", s.posted.Load(), len(seen), states)
}

// balance returns what is posted on an account that every book has.
func (s *story) balance(code string) ledger.Amount {
	s.t.Helper()
	var b ledger.Balance
	s.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		b, err = engine.FindBalance(ctx, tx, ledger.SystemAccountID(code))
		return err
	})
	return b.Posted()
}

// seeded returns chance for one token, whichever visitor takes it.
func (s *story) seeded(token string) *rand.Rand {
	n, _ := strconv.ParseUint(fmt.Sprintf("%x", token[:8]), 16, 64)
	return rand.New(rand.NewPCG(s.size.seed, n))
}
