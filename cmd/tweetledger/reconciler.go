package main

import (
	"context"
	"time"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reconciliation"
)

// reconciler runs the jobs of reconciliation, and keeps the runs.
type reconciler struct {
	book    *engine.Engine
	payouts *payouts.Service
	// Tweets are reconciled where there is a history; else these are nil.
	payments *payments.Service
	parser   payments.Parser
	history  reconciliation.History
	spill    reconciliation.Spill
	cards    reconciliation.CardsParams // the terms alone
	feed     bool
	progress func(done, total int)
}

// reconcileSettings say how the book is reconciled.
type reconcileSettings struct {
	Interval duration `toml:"interval"`
	Days     int      `toml:"days"`
	TempDir  string   `toml:"temp_dir"`
	TempGB   int64    `toml:"temp_gb"`
	// After so many days a card charge must be in a settlement file, and is missing.
	CardDays        int `toml:"card_days"`
	CardMissingDays int `toml:"card_missing_days"`
}

// Bounds of [reconcile].
const (
	maxReconcileDays = 366
	maxTempGB        = 1 << 20
)

func (s settings) spill() (reconciliation.Spill, error) {
	if s.Reconcile.TempGB < 1 || s.Reconcile.TempGB > maxTempGB {
		return reconciliation.Spill{}, ledger.Errorf(ledger.CodeInvalid, "temporary files take 1 to %d GB, not %d", maxTempGB, s.Reconcile.TempGB).InField("reconcile.temp_gb")
	}
	spill := reconciliation.Spill{MaxBytes: s.Reconcile.TempGB << 30}
	if s.Reconcile.TempDir != "" {
		spill.Dir = s.path(s.Reconcile.TempDir)
	}
	return spill, nil
}

// reconciler opens what the jobs need. Without files and without a connection to X it
// has no history.
func (a *app) reconciler(ctx context.Context, files []string, owner twitter.Owner) (*reconciler, error) {
	r, s, err := a.bareReconciler(ctx)
	if err != nil || (len(files) == 0 && s.Twitter.APIURL == "") {
		return r, err
	}
	service, _, err := a.openPayments(ctx)
	if err != nil {
		return nil, err
	}
	history, err := a.history(s, files, owner)
	if err != nil {
		return nil, err
	}
	return r, r.compareTweets(s, service, history)
}

// bareReconciler opens what the jobs need that compare no tweets.
func (a *app) bareReconciler(ctx context.Context) (*reconciler, settings, error) {
	s, err := a.settings()
	if err != nil {
		return nil, s, err
	}
	r := &reconciler{}
	if r.spill, err = s.spill(); err != nil {
		return nil, s, err
	}
	if err := checkCardTerms(s.Reconcile); err != nil {
		return nil, s, err
	}
	r.cards = reconciliation.CardsParams{Days: s.Reconcile.CardDays, MissingDays: s.Reconcile.CardMissingDays}
	if r.book, err = a.openBook(ctx); err != nil {
		return nil, s, err
	}
	r.payouts, err = a.openPayouts(ctx)
	return r, s, err
}

// compareTweets lets it compare tweets, too.
func (r *reconciler) compareTweets(s settings, service *payments.Service, history reconciliation.History) (err error) {
	r.payments, r.history = service, history
	r.parser, err = twitter.NewParser(s.parser())
	return err
}

// jobs are those that there is something to compare with.
func (r *reconciler) jobs() []reconciliation.Job {
	list := []reconciliation.Job{reconciliation.JobPayouts, reconciliation.JobCards, reconciliation.JobSafeguarding}
	if r.history != nil {
		list = append(list, reconciliation.JobTweets)
	}
	return list
}

// run runs a job and keeps nothing.
func (r *reconciler) run(ctx context.Context, k reconciliation.KeepRequest, watch reconciliation.Watch) (reconciliation.Result, error) {
	switch k.Job {
	case reconciliation.JobTweets:
		if r.history == nil {
			return reconciliation.Result{}, errNoHistory()
		}
		return reconciliation.Tweets(ctx, r.payments, r.parser, r.history, reconciliation.TweetsParams{Channel: twitter.Channel, From: k.From, To: k.To,
			Feed: r.feed, Progress: r.progress, Watch: watch, Spill: r.spill})
	case reconciliation.JobPayouts:
		return reconciliation.Payouts(ctx, r.book, r.payouts, reconciliation.PayoutsParams{From: k.From, To: k.To, Payee: k.Subject, Watch: watch, Spill: r.spill})
	case reconciliation.JobCards:
		p := r.cards
		p.From, p.To, p.Progress, p.Watch, p.Spill = k.From, k.To, r.progress, watch, r.spill
		return reconciliation.Cards(ctx, r.book, r.payouts, p)
	case reconciliation.JobSafeguarding:
		return reconciliation.Safeguarding(ctx, r.book, r.payouts.Config(), reconciliation.SafeguardingParams{From: k.From, To: k.To, Watch: watch})
	}
	return reconciliation.Result{}, ledger.Errorf(ledger.CodeInvalid, "there is no job %q", ledger.Clip(string(k.Job)))
}

// keep runs a job and keeps the run with its breaks.
func (r *reconciler) keep(ctx context.Context, k reconciliation.KeepRequest) (reconciliation.Kept, reconciliation.Result, error) {
	return reconciliation.Keep(ctx, r.book, k, func(ctx context.Context, watch reconciliation.Watch) (reconciliation.Result, error) {
		return r.run(ctx, k, watch)
	})
}

func errNoHistory() error {
	return ledger.Errorf(ledger.CodeInvalid, "no tweet history: name files with --history, or set twitter.api_url in the configuration")
}

// maxCardDays bounds the terms of charges: a chargeback comes within 120 days.
const maxCardDays = 120

// checkCardTerms refuses terms of charges that make no sense.
func checkCardTerms(s reconcileSettings) error {
	switch {
	case s.CardDays < 1 || s.CardDays > maxCardDays:
		return ledger.Errorf(ledger.CodeInvalid, "a charge is settled within 1 to %d days, not %d", maxCardDays, s.CardDays).InField("reconcile.card_days")
	case s.CardMissingDays < s.CardDays || s.CardMissingDays > maxCardDays:
		return ledger.Errorf(ledger.CodeInvalid, "a charge is missing after card_days (%d) to %d days, not %d", s.CardDays, maxCardDays, s.CardMissingDays).InField("reconcile.card_missing_days")
	}
	return nil
}

// interval is how often serve reconciles.
func (s reconcileSettings) interval() time.Duration { return time.Duration(s.Interval) }
