package payments

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Verdict is what screening says to a command.
type Verdict string

// The verdicts, from the mildest.
const (
	VerdictAccept Verdict = "accept"
	VerdictReview Verdict = "review" // staff decide
	VerdictReject Verdict = "reject"
)

// verdictNone stands in the inbox with a message that asked for nothing.
const verdictNone Verdict = "none"

// The rules of screening, which are the reasons of its verdicts, too. They are
// private: an offender who knows the rule walks around it.
const (
	ReasonDenied      = "denied_id"
	ReasonVelocityDay = "velocity_24h"
	ReasonVelocity30  = "velocity_30d"
	ReasonNewPayee    = "new_payee"
	ReasonManyPayees  = "many_payees"
	ReasonNearCap     = "near_cap"
	ReasonLookAlike   = "look_alike"
)

// ScreeningConfig are the settings of the rules that judge commands. A rule whose
// verdict is VerdictAccept is off.
type ScreeningConfig struct {
	// Velocity: the most that a payer may have paid or have on the way, this payment
	// included, in rolling 24 hours and 30 days.
	Velocity    Verdict
	DayCount    int // 1 to MaxCounted
	DayAmount   ledger.Amount
	MonthCount  int // 1 to MaxCounted
	MonthAmount ledger.Amount
	// DayOrders is the most orders in rolling 24 hours, whatever became of them: each
	// calls its payer, and who is no customer yet in public. 1 to MaxCounted.
	DayOrders int
	// NewPayee: the first payment to a person of at least NewPayeeAmount.
	NewPayee       Verdict
	NewPayeeAmount ledger.Amount
	// ManyPayees: more than ManyPayeesCount different payees in 24 hours.
	ManyPayees      Verdict
	ManyPayeesCount int
	// NearCap: NearCapCount payments in 24 hours that are at most NearCapMargin
	// below the cap, which is what splitting a larger sum looks like.
	NearCap       Verdict
	NearCapMargin ledger.Amount
	NearCapCount  int
	// LookAlike: a payee whose handle can be taken for that of a charity or business.
	LookAlike Verdict
	// DeniedIDs are user ids that neither pay nor are paid, nor are linked; at most
	// MaxDenied.
	DeniedIDs []string
	// ReviewTerm is how long an order waits for staff; then it expires.
	ReviewTerm time.Duration
}

const (
	// MaxCounted bounds the payments that a verdict looks at, and so its cost.
	MaxCounted = 1000
	// MaxDenied bounds the ids in the configuration.
	MaxDenied = 10_000
)

const (
	day   = 24 * time.Hour
	month = 30 * day
)

// DefaultScreening returns the rules as the service has them where nothing else
// was said.
func DefaultScreening() ScreeningConfig {
	return ScreeningConfig{
		Velocity: VerdictReject, DayCount: 50, DayAmount: 1000_00, MonthCount: 300, MonthAmount: 5000_00, DayOrders: 200,
		NewPayee: VerdictReview, NewPayeeAmount: 200_00,
		ManyPayees: VerdictReview, ManyPayeesCount: 20,
		NearCap: VerdictReview, NearCapMargin: 10_00, NearCapCount: 3,
		LookAlike:  VerdictReview,
		ReviewTerm: 5 * day,
	}
}

func (c ScreeningConfig) validate() error {
	invalid := func(field, format string, args ...any) error {
		return ledger.Errorf(ledger.CodeInvalid, format, args...).InField("screening." + field)
	}
	for _, rule := range []struct {
		name    string
		verdict Verdict
		limits  map[string]int64
		counts  map[string]int
	}{
		{"velocity", c.Velocity, map[string]int64{"day_amount": int64(c.DayAmount), "month_amount": int64(c.MonthAmount)},
			map[string]int{"day_count": c.DayCount, "month_count": c.MonthCount, "day_orders": c.DayOrders}},
		{"new_payee", c.NewPayee, map[string]int64{"new_payee_amount": int64(c.NewPayeeAmount)}, nil},
		{"many_payees", c.ManyPayees, nil, map[string]int{"many_payees_count": c.ManyPayeesCount}},
		{"near_cap", c.NearCap, map[string]int64{"near_cap_margin": int64(c.NearCapMargin)}, map[string]int{"near_cap_count": c.NearCapCount}},
		{"look_alike", c.LookAlike, nil, nil},
	} {
		if rule.verdict != VerdictAccept && rule.verdict != VerdictReview && rule.verdict != VerdictReject {
			return invalid(rule.name, "%q is not a verdict; use accept (which turns the rule off), review or reject", clip(string(rule.verdict)))
		}
		if rule.verdict == VerdictAccept {
			continue
		}
		for name, limit := range rule.limits {
			if limit <= 0 {
				return invalid(name, "the amount must be above zero, not %d", limit)
			}
		}
		for name, n := range rule.counts {
			if n < 1 || n > MaxCounted {
				return invalid(name, "the number must be 1 to %d, not %d", MaxCounted, n)
			}
		}
	}
	if len(c.DeniedIDs) > MaxDenied {
		return invalid("denied_ids", "there are %d ids; at most %d are taken", len(c.DeniedIDs), MaxDenied)
	}
	for i, id := range c.DeniedIDs {
		if !idPattern.MatchString(id) {
			return invalid("denied_ids", "entry %d, %q, is not a user id; give the numeric id, not the handle", i+1, clip(id))
		}
	}
	if c.ReviewTerm <= 0 {
		return invalid("review_term", "the time must be above zero, not %s", c.ReviewTerm)
	}
	return nil
}

// Hit is a rule that an order met.
type Hit struct {
	Rule    string // one of the reasons above
	Verdict Verdict
	Detail  string // what was measured, for staff
	At      time.Time
}

func (s *Service) isDenied(userID string) bool {
	_, denied := s.denied[userID]
	return denied
}

// screen judges a new order, which is not stored yet. The
// verdict is the hardest of its hits'. Everything that it reads is found by an
// index and bounded, however long the histories of payer and payee are.
func (h handling) screen(ctx context.Context, o Order, to payee, alike likenesses) (Verdict, []Hit, error) {
	rules := h.config.Screening
	var hits []Hit
	hit := func(rule string, verdict Verdict, format string, args ...any) {
		hits = append(hits, Hit{Rule: rule, Verdict: verdict, Detail: fmt.Sprintf(format, args...), At: h.now})
	}
	if rules.Velocity != VerdictAccept || rules.ManyPayees != VerdictAccept || rules.NearCap != VerdictAccept {
		w, err := h.paymentsInWindow(ctx, o)
		if err != nil {
			return "", nil, err
		}
		h.screenWindow(w, hit)
	}
	if rules.Velocity != VerdictAccept {
		made, err := h.ordersOfDay(ctx, o)
		if err != nil {
			return "", nil, err
		}
		if made > rules.DayOrders && !slices.ContainsFunc(hits, func(hit Hit) bool { return hit.Rule == ReasonVelocityDay }) {
			hit(ReasonVelocityDay, rules.Velocity, "more than %d orders in 24 hours, whatever became of them", rules.DayOrders)
		}
	}
	// The bank knows charities and businesses: it has enrolled them.
	stranger := to.kind == Person || to.kind == Unregistered
	if rules.NewPayee != VerdictAccept && stranger && o.Amount >= rules.NewPayeeAmount {
		known, err := hasPaid(ctx, h.tx, o)
		if err != nil {
			return "", nil, err
		}
		if !known {
			hit(ReasonNewPayee, rules.NewPayee, "first payment to @%s, of %s", o.PayeeHandle, money(o.Amount, o.Currency, English))
		}
	}
	if rules.LookAlike != VerdictAccept && stranger {
		original, err := alike.of(ctx, h.tx, linkChannel(o.Channel), o.PayeeUserID, o.PayeeHandle)
		if err != nil {
			return "", nil, err
		}
		if original.UserID != "" {
			hit(ReasonLookAlike, rules.LookAlike, "@%s can be taken for @%s (%s)", o.PayeeHandle, original.Handle, original.UserID)
		}
	}
	verdict := VerdictAccept
	slices.SortStableFunc(hits, func(a, b Hit) int { return severity(b.Verdict) - severity(a.Verdict) })
	if len(hits) > 0 {
		verdict = hits[0].Verdict
	}
	return verdict, hits, nil
}

func severity(v Verdict) int {
	return slices.Index([]Verdict{VerdictAccept, VerdictReview, VerdictReject}, v)
}

// window is what a payer has paid or has on the way, the order that is judged
// included.
type window struct {
	dayCount, monthCount   int
	dayAmount, monthAmount ledger.Amount
	payees                 int // different ones, in 24 hours
	nearCap                int // payments just below the order's cap, in 24 hours
	currency               ledger.Currency
	near                   bool // the order itself is one of them
}

// windowQuery reads the payments of a payer ($1) since an instant ($2), the newest
// first, from the index orders_counted.
func windowQuery() string {
	return fmt.Sprintf(`SELECT created_at, amount, payee_user_id FROM orders
		WHERE payer_id = $1 AND created_at > $2 AND state IN ('received', 'awaiting_payee', 'under_review', 'awaiting_confirmation', 'posted')
		ORDER BY created_at DESC LIMIT %d`, MaxCounted)
}

// paymentsInWindow counts the payments of an order's payer, the order included. Beyond
// MaxCounted others it counts no further: every limit on counts has been met by then.
func (h handling) paymentsInWindow(ctx context.Context, o Order) (window, error) {
	limit := h.config.capFor(o.PayeeKind)
	isNear := func(amount ledger.Amount) bool {
		return amount <= limit && amount >= limit-h.config.Screening.NearCapMargin
	}
	w := window{currency: o.Currency, near: isNear(o.Amount)}
	payees := map[string]bool{}
	count := func(at time.Time, amount ledger.Amount, payeeID string) {
		w.monthCount++
		var ok bool
		if w.monthAmount, ok = addCapped(w.monthAmount, amount); !ok || !at.After(h.now.Add(-day)) {
			return
		}
		w.dayCount++
		w.dayAmount, _ = addCapped(w.dayAmount, amount)
		payees[payeeID] = true
		if isNear(amount) {
			w.nearCap++
		}
	}
	count(o.CreatedAt, o.Amount, o.PayeeUserID)
	err := h.tx.Each(ctx, windowQuery(), []any{o.PayerID, h.now.Add(-month)}, func(rows *sqldb.Rows) error {
		var at time.Time
		var amount ledger.Amount
		var payeeID string
		err := rows.Scan(&at, &amount, &payeeID)
		if err == nil {
			count(at, amount, payeeID)
		}
		return err
	})
	if err != nil {
		return window{}, fmt.Errorf("count the payments of order %s's payer: %w", o.ID, err)
	}
	w.payees = len(payees)
	return w, nil
}

// ordersOfDayQuery counts the orders that a payer ($1) has made since an instant ($2),
// from the index orders_of_payer, as far as limit.
func ordersOfDayQuery(limit int) string {
	return fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 AS one FROM orders WHERE payer_id = $1 AND created_at > $2 LIMIT %d) AS made", limit)
}

// ordersOfDay counts the orders of an order's payer, the order included, no further than
// to one too many.
func (h handling) ordersOfDay(ctx context.Context, o Order) (int, error) {
	var made int
	err := h.tx.QueryRow(ctx, ordersOfDayQuery(h.config.Screening.DayOrders), []any{o.PayerID, h.now.Add(-day)}, &made)
	if err != nil {
		return 0, fmt.Errorf("count the orders of order %s's payer: %w", o.ID, err)
	}
	return made + 1, nil
}

// postedQuery reads what a payer ($1) has paid after an instant ($2) with orders that were
// made after another ($3), from the index orders_of_payer. Beyond MaxCounted it reads no
// further: every limit on counts has been met by then.
func postedQuery() string {
	return fmt.Sprintf("SELECT closed_at, amount FROM orders WHERE payer_id = $1 AND created_at > $3 AND state = 'posted' AND closed_at > $2 LIMIT %d", MaxCounted+1)
}

// overVelocity reports, when an order is posted, whether its payer would have paid too
// much in rolling 24 hours or 30 days. An order that waits for days is not counted by
// those that are made meanwhile: without this, what several days allow could be confirmed
// at once. Where screening only has staff look, they have.
func (s *Service) overVelocity(ctx context.Context, tx *sqldb.Tx, o Order, now time.Time) (reason string, err error) {
	rules := s.config.Screening
	if rules.Velocity != VerdictReject {
		return "", nil
	}
	days, months, dayAmount, monthAmount := 1, 1, o.Amount, o.Amount
	longest := month + rules.ReviewTerm + s.config.ConfirmationTerm // the age of the oldest that can have been posted in the window
	err = tx.Each(ctx, postedQuery(), []any{o.PayerID, now.Add(-month), now.Add(-longest)}, func(rows *sqldb.Rows) error {
		var at time.Time
		var amount ledger.Amount
		if err := rows.Scan(&at, &amount); err != nil {
			return err
		}
		months++
		monthAmount, _ = addCapped(monthAmount, amount)
		if at.After(now.Add(-day)) {
			days++
			dayAmount, _ = addCapped(dayAmount, amount)
		}
		return nil
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("count what the payer of order %s has paid: %w", o.ID, err)
	case days > rules.DayCount || dayAmount > rules.DayAmount:
		return ReasonVelocityDay, nil
	case months > rules.MonthCount || monthAmount > rules.MonthAmount:
		return ReasonVelocity30, nil
	}
	return "", nil
}

// addCapped adds two amounts; where the sum cannot be written down it stays at the
// larger, which every limit is below.
func addCapped(a, b ledger.Amount) (ledger.Amount, bool) {
	sum, err := a.Add(b)
	if err != nil {
		return max(a, b), false
	}
	return sum, true
}

func (h handling) screenWindow(w window, hit func(rule string, verdict Verdict, format string, args ...any)) {
	rules := h.config.Screening
	text := func(a ledger.Amount) string { return money(a, w.currency, English) }
	if rules.Velocity != VerdictAccept {
		if w.dayCount > rules.DayCount || w.dayAmount > rules.DayAmount {
			hit(ReasonVelocityDay, rules.Velocity, "%d payments of %s in 24 hours; the limits are %d and %s", w.dayCount, text(w.dayAmount), rules.DayCount, text(rules.DayAmount))
		}
		if w.monthCount > rules.MonthCount || w.monthAmount > rules.MonthAmount {
			hit(ReasonVelocity30, rules.Velocity, "%d payments of %s in 30 days; the limits are %d and %s", w.monthCount, text(w.monthAmount), rules.MonthCount, text(rules.MonthAmount))
		}
	}
	if rules.ManyPayees != VerdictAccept && w.payees > rules.ManyPayeesCount {
		hit(ReasonManyPayees, rules.ManyPayees, "%d payees in 24 hours; the limit is %d", w.payees, rules.ManyPayeesCount)
	}
	if rules.NearCap != VerdictAccept && w.near && w.nearCap >= rules.NearCapCount {
		hit(ReasonNearCap, rules.NearCap, "%d payments in 24 hours within %s of the cap", w.nearCap, text(rules.NearCapMargin))
	}
}

// paidQuery finds a payee ($3 on channel $2) that a payer ($1) has paid, by its key.
const paidQuery = "SELECT 1 FROM paid_payees WHERE payer_id = $1 AND channel = $2 AND payee_user_id = $3"

// hasPaid reports whether the payer of an order has ever paid its payee.
func hasPaid(ctx context.Context, tx *sqldb.Tx, o Order) (bool, error) {
	var one int64
	err := tx.QueryRow(ctx, paidQuery,
		[]any{o.PayerID, linkChannel(o.Channel), o.PayeeUserID}, &one)
	if sqldb.IsNoRows(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for payments to %s: %w", clip(o.PayeeUserID), err)
	}
	return true, nil
}

// notePaid remembers whom the payer of a posted order has paid.
func notePaid(ctx context.Context, tx *sqldb.Tx, o Order) error {
	_, err := tx.Exec(ctx, "INSERT INTO paid_payees (payer_id, channel, payee_user_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
		o.PayerID, linkChannel(o.Channel), o.PayeeUserID)
	if err != nil {
		return fmt.Errorf("remember the payee of order %s: %w", o.ID, err)
	}
	return nil
}

// HitsOfOrder returns the rules of screening that an order met, the hardest first.
func HitsOfOrder(ctx context.Context, tx *sqldb.Tx, order uuid.UUID) ([]Hit, error) {
	hits, err := sqldb.Collect(ctx, tx, "SELECT rule, verdict, detail, at FROM screening_hits WHERE order_id = $1 ORDER BY rule", []any{order},
		func(rows *sqldb.Rows) (hit Hit, err error) {
			err = rows.Scan(&hit.Rule, &hit.Verdict, &hit.Detail, &hit.At)
			return hit, err
		})
	if err != nil {
		return nil, fmt.Errorf("rules that order %s met: %w", order, err)
	}
	slices.SortStableFunc(hits, func(a, b Hit) int { return severity(b.Verdict) - severity(a.Verdict) })
	return hits, nil
}

// verdictOf returns what screening said to what a message asked for, as the inbox
// records it.
func verdictOf(handled Handled) Verdict {
	switch handled.Outcome {
	case OutcomeOrder:
		if handled.Order != nil && handled.Order.State == StateUnderReview {
			return VerdictReview
		}
		return VerdictAccept
	case OutcomeAnswered:
		return VerdictAccept
	case OutcomeRejected, OutcomeRefused:
		return VerdictReject
	}
	return verdictNone
}

// addressPattern finds what a channel makes a link of. X bills a post with an
// address tenfold, and a customer who expects none in public falls for none.
var addressPattern = regexp.MustCompile(`(?i)(https?://|www\.)`)

// screenOutgoing judges what is to go out, and says why where it must not.
func screenOutgoing(r OutboxRow) (Verdict, string) {
	public := r.Kind == OutboxReply || r.Kind == OutboxAnnouncement
	if public && addressPattern.MatchString(r.Text) {
		return VerdictReject, "screening: an address in public"
	}
	if weight := Weigh(r.Text); public && weight > MaxWeight {
		return VerdictReject, fmt.Sprintf("screening: %d characters, where a post has %d at most", weight, MaxWeight)
	}
	return VerdictAccept, ""
}
