package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// TestEveryWayLeadsToOneInbox sends commands by stream, mentions, webhook and direct
// message, most of them by several: each makes one order.
func TestEveryWayLeadsToOneInbox(t *testing.T) {
	s := newStage(t, xsim.Options{})
	p := s.serve(func(s *settings) { s.Twitter.DirectMessages, s.Twitter.Webhook = true, true })
	if err := s.sim.WaitForStreams(s.ctx, 1, 0); err != nil {
		t.Fatal(err)
	}
	streamed := s.sim.Tweet(stageMarie, "@SmoneyFR #envoyer 1€ @yoann_test")
	s.await("the stream brings an order", func() bool { return p.ordered(streamed, 1_00) })
	s.sim.Lose(1)
	lost := s.sim.Tweet(stageMarie, "@SmoneyFR #envoyer 2€ @yoann_test")
	s.await("the mentions bring what the stream has lost", func() bool { return p.ordered(lost, 2_00) })

	handler, err := p.ways.webhookHandler()
	if err != nil {
		t.Fatal(err)
	}
	hook := httptest.NewServer(handler)
	defer hook.Close()
	if err := s.sim.Subscribe(s.ctx, xsim.WebhookConfig{URL: hook.URL, Secret: s.variables[webhookSecretVariable], UserID: stageBank, Shape: xsim.ShapeActivity}); err != nil {
		t.Fatal(err)
	}
	s.sim.Lose(1)
	s.sim.Fail(xsim.EndpointMentions, xsim.Failure{Status: http.StatusServiceUnavailable, Times: 1 << 20})
	hooked := s.sim.Tweet(stageMarie, "@SmoneyFR #envoyer 3€ @yoann_test")
	private := s.sim.Direct(stageMarie, stageBank, "#envoyer 4€ @yoann_test")
	s.await("the webhook stores what the inbox handles", func() bool { return p.ordered(hooked, 3_00) })
	s.await("direct messages are read", func() bool { return p.ordered(private, 4_00) })

	// All of it once more: nothing changes.
	s.sim.Fail(xsim.EndpointMentions, xsim.Failure{Status: http.StatusServiceUnavailable, Times: 1})
	for _, id := range []string{streamed, lost, hooked} {
		s.sim.Redeliver(id)
	}
	s.sim.Replay()
	last := s.sim.Tweet(stageMarie, "@SmoneyFR #envoyer 5€ @yoann_test")
	s.await("the last one", func() bool { return p.ordered(last, 5_00) })
	if got := p.orders(); len(got) != 5 {
		t.Errorf("%d messages made orders", len(got))
	}
	if o := p.orders()[private][0]; o.Channel != "twitter-dm" {
		t.Errorf("ordered by direct message: %+v", o)
	}
}

// TestOneProcessListensAndAnotherTakesOver starts two: the second connects when the
// first has ended, and begins with what was posted meanwhile.
func TestOneProcessListensAndAnotherTakesOver(t *testing.T) {
	s := newStage(t, xsim.Options{})
	first := s.serve(nil)
	if err := s.sim.WaitForStreams(s.ctx, 1, 0); err != nil {
		t.Fatal(err)
	}
	second := s.serve(nil)
	before := s.sim.Tweet(stageMarie, "@SmoneyFR #envoyer 1€ @yoann_test")
	s.await("the first process takes an order", func() bool { return first.ordered(before, 1_00) })
	second.ways.leases.Lock()
	if second.ways.lease.lease.Token != 0 {
		t.Error("both processes hold the lease")
	}
	second.ways.leases.Unlock()
	first.end()
	between := s.sim.Tweet(stageMarie, "@SmoneyFR #envoyer 2€ @yoann_test")
	s.await("the second process takes over", func() bool { return second.ordered(between, 2_00) })
}

// TestWithoutTheStreamTheMentionsAreRead refuses the stream as X does without access:
// the process goes on, and reads the mentions instead.
func TestWithoutTheStreamTheMentionsAreRead(t *testing.T) {
	for name, change := range map[string]func(*stage, *settings){
		"refused": func(s *stage, _ *settings) {
			s.sim.Fail(xsim.EndpointStream, xsim.Failure{Status: http.StatusForbidden, Times: 1 << 20})
		},
		"rules refused": func(s *stage, _ *settings) {
			s.sim.Fail(xsim.EndpointRules, xsim.Failure{Status: http.StatusUnauthorized, Times: 1 << 20})
		},
		"not configured": func(_ *stage, s *settings) { s.Twitter.Stream = false },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, xsim.Options{})
			p := s.serve(func(settings *settings) { change(s, settings) })
			id := s.sim.Tweet(stageMarie, "@SmoneyFR #envoyer 1€ @yoann_test")
			s.await("the mentions bring an order", func() bool { return p.ordered(id, 1_00) })
		})
	}
}

// TestDeletionByWebhookAndComplianceStream purges a text by each, before and after its
// message came.
func TestDeletionByWebhookAndComplianceStream(t *testing.T) {
	s := newStage(t, xsim.Options{})
	p := s.serve(func(s *settings) { s.Twitter.Compliance = true })
	if err := s.sim.WaitForStreams(s.ctx, 1, compliancePartitions); err != nil {
		t.Fatal(err)
	}
	row := func(id string) (m payments.InboxMessage) {
		_ = p.app.db.Read(s.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			m, err = payments.FindMessageByChannelID(ctx, tx, "twitter", id)
			return err // where it is not there, m is empty
		})
		return m
	}
	after := s.sim.Tweet(stageMarie, "@SmoneyFR #envoyer 1€ @yoann_test")
	s.await("the order", func() bool { return p.ordered(after, 1_00) })
	s.sim.Delete(after)
	s.await("its text is gone", func() bool { m := row(after); return !m.HasText && !m.DeletedAt.IsZero() })
	s.sim.Hold(1)
	late := s.sim.Tweet(stageMarie, "@SmoneyFR #envoyer 2€ @yoann_test")
	s.sim.Delete(late)
	s.await("the deletion is remembered", func() bool {
		var n int
		err := p.app.db.Read(s.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.QueryRow(ctx, "SELECT COUNT(*) FROM deletions WHERE message_id = $1", []any{late}, &n)
		})
		return err == nil && n == 1
	})
	s.sim.Release()
	s.await("the late tweet", func() bool { return p.ordered(late, 2_00) })
	if m := row(late); m.HasText || m.DeletedAt.IsZero() {
		t.Errorf("kept as %+v", m)
	}
}

// TestStoryOfTheDocs plays the sample script that docs/twitter.md tells to play: it must
// lead to what is said there.
func TestStoryOfTheDocs(t *testing.T) {
	s := newStage(t, xsim.Options{})
	p := s.serve(func(s *settings) { s.Twitter.DirectMessages = true })
	file, err := os.Open(filepath.Join("..", "..", "docs", "xsim-story.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	steps, err := xsim.ReadScript(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range steps {
		steps[i].After = 0
	}
	if err := s.sim.Play(s.ctx, stageBank, steps, func(string) {}); err != nil {
		t.Fatal(err)
	}
	count := func(query string) (n int) {
		_ = p.app.db.Read(s.ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.QueryRow(ctx, query, nil, &n) }) // 0 until it can be read
		return n
	}
	for what, query := range map[string]string{
		"the payment waits for its code": "SELECT COUNT(*) FROM orders WHERE amount = 2000 AND state = 'awaiting_confirmation'",
		"the other one is cancelled":     "SELECT COUNT(*) FROM orders WHERE amount = 500 AND state = 'cancelled'",
		"the amount is refused":          "SELECT COUNT(*) FROM messages WHERE reason = 'ambiguous_amount'",
		"the balance is told":            "SELECT COUNT(*) FROM outbox WHERE template = 'balance' AND kind = 'direct_message'",
	} {
		s.await(what, func() bool { return count(query) == 1 })
	}
}

// TestAccountThatIsGone suspends a payer's account: what it wrote loses its text.
func TestAccountThatIsGone(t *testing.T) {
	s := newStage(t, xsim.Options{})
	p := s.serve(func(s *settings) { s.Twitter.Compliance = true })
	if err := s.sim.WaitForUserStreams(s.ctx, compliancePartitions); err != nil {
		t.Fatal(err)
	}
	id := s.sim.Tweet(stageMarie, "@SmoneyFR #envoyer 1€ @yoann_test")
	s.await("the order", func() bool { return p.ordered(id, 1_00) })
	s.sim.Suspend(stageMarie)
	s.await("its text is gone", func() bool {
		n, err := p.ways.service.PurgeGone(s.ctx, "twitter", workBatch)
		return err == nil && n == 1
	})
}

// TestWebhookNeedsASecret starts no webhook that would believe anybody.
func TestWebhookNeedsASecret(t *testing.T) {
	s := newStage(t, xsim.Options{})
	delete(s.variables, webhookSecretVariable)
	p := s.serve(func(s *settings) { s.Twitter.Webhook = true })
	if handler, err := p.ways.webhookHandler(); handler != nil || ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("without a secret: %v", err)
	}
	w := p.ways.worker // ways themselves serve
	w.settings.Twitter.Webhook = false
	if handler, err := newWays(w).webhookHandler(); handler != nil || err != nil {
		t.Errorf("not configured: %v", err)
	}
}
