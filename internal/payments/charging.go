package payments

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

const (
	// processorTimeout bounds one call of the card processor: a page waits for it.
	processorTimeout = 15 * time.Second
	// chargeFlight is how long a charge is left to whoever asked for it: longer than
	// the call can take.
	chargeFlight = time.Minute
	// chargeSettles is how old a charge must be before "the processor does not know of
	// it" is believed: by then no request can still be on its way.
	chargeSettles = 5 * time.Minute
	// challengePoll is how soon a challenge is looked at where no webhook speaks of it.
	challengePoll = 30 * time.Second
	// maxOrderCharges bounds the charges of one order: a declined card may be tried
	// again, not for ever.
	maxOrderCharges = 5
	// maxChallengeURL bounds the address of a challenge.
	maxChallengeURL = 2048
	// velocityWindow is the time that CardConfig's DayCount and DayAmount are about.
	velocityWindow = 24 * time.Hour
)

// ChargeRequest asks for money from a customer's card for the wallet.
type ChargeRequest struct {
	// Key makes it happen once: the same key with another customer, card or amount is
	// CodeConflict.
	Key            string
	CustomerNumber string
	CardID         uuid.UUID // Nil: the default card
	Amount         ledger.Amount
	Present        bool   // the cardholder is there and can be asked to authenticate
	ReturnURL      string // where the cardholder goes after that; empty: the confirmation pages
	Actor          string
}

var chargeKeyPattern = regexp.MustCompile(`^[0-9A-Za-z_.:-]{1,64}$`)

// ChargeCard charges a customer's card and credits the wallet. It returns the charge as
// it stands: succeeded and posted, declined, waiting for its cardholder on ChallengeURL,
// or requested where the processor has not answered; then SweepCharges finds out. A
// charge that would break a rule is refused before the card is asked: CodeLimitExceeded
// (ceiling, velocity), CodeForbidden (blocked), CodeAccountClosed, CodeInvalid.
func (s *Service) ChargeCard(ctx context.Context, r ChargeRequest) (Charge, error) {
	if !chargeKeyPattern.MatchString(r.Key) {
		return Charge{}, ledger.Errorf(ledger.CodeInvalid, "%q is not a key: 1 to 64 of letters, digits and _ . : -", clip(r.Key)).InField("key")
	}
	if err := validText("actor", r.Actor, maxActor); err != nil {
		return Charge{}, err
	}
	if s.processor == nil {
		return Charge{}, errNoProcessor()
	}
	var c Charge
	var card Card
	var made bool
	err := s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		c, card, made, err = s.requestTopUp(ctx, tx, r)
		return err
	})
	if err != nil {
		return Charge{}, fmt.Errorf("charge a card: %w", err)
	}
	if !made {
		return s.Refresh(ctx, c.ID)
	}
	return s.collect(ctx, c, card, r.ReturnURL)
}

// requestTopUp writes down a charge, or finds the one that was made under its key.
func (s *Service) requestTopUp(ctx context.Context, tx *sqldb.Tx, r ChargeRequest) (c Charge, card Card, made bool, err error) {
	customer, err := FindCustomer(ctx, tx, r.CustomerNumber)
	if err != nil {
		return c, card, false, err
	}
	key := "topup:" + r.Key
	before, err := findCharges(ctx, tx, "id = $1", []any{chargeID(key)}, "")
	if err != nil {
		return c, card, false, err
	}
	if len(before) > 0 {
		c = before[0]
		if c.CustomerID != customer.ID || c.Amount != r.Amount || (r.CardID != uuid.Nil && c.CardID != r.CardID) {
			return c, card, false, ledger.Errorf(ledger.CodeConflict, "the key %s was used for another charge; use a new key for each", r.Key).InField("key")
		}
		return c, card, false, nil
	}
	if r.CardID == uuid.Nil {
		found := false
		if card, found, err = defaultCard(ctx, tx, customer.ID); err == nil && !found {
			err = ledger.Errorf(ledger.CodeNotFound, "customer %s has no card", customer.Number).InField("card")
		}
	} else {
		card, err = FindCard(ctx, tx, r.CardID)
	}
	if err != nil {
		return c, card, false, err
	}
	if r.Amount < s.config.Cards.Minimum {
		return c, card, false, ledger.Errorf(ledger.CodeInvalid, "a card is charged at least %s %s", s.config.Cards.Minimum.Format(s.config.Currency), s.config.Currency).InField("amount")
	}
	c = Charge{Key: key, CustomerID: customer.ID, CardID: card.ID, Present: r.Present, Amount: r.Amount}
	if err := s.mayCharge(ctx, tx, customer, card, c.Amount); err != nil {
		return c, card, false, err
	}
	balance, err := engine.FindBalance(ctx, tx, customer.WalletID)
	if err != nil {
		return c, card, false, err
	}
	if balance.Expected() > s.config.WalletCeiling-c.Amount {
		return c, card, false, ledger.Errorf(ledger.CodeLimitExceeded, "the wallet of %s may hold %s %s and would hold more", customer.Number,
			s.config.WalletCeiling.Format(s.config.Currency), s.config.Currency).InField("amount")
	}
	c, err = s.request(ctx, tx, c, r.Actor)
	return c, card, err == nil, err
}

// request writes a charge down before the processor hears of it.
func (s *Service) request(ctx context.Context, tx *sqldb.Tx, c Charge, actor string) (Charge, error) {
	now := s.engine.Now()
	c.ID, c.Currency, c.State, c.Reason, c.CreatedAt, c.ChangedAt = chargeID(c.Key), s.config.Currency, ChargeRequested, ReasonAskedFor, now, now
	c.DueAt, c.events = dueAfter(ChargeRequested, now), 1
	return c, insertCharge(ctx, tx, c, actor)
}

// mayCharge asks the rules of card charges.
func (s *Service) mayCharge(ctx context.Context, tx *sqldb.Tx, customer Customer, card Card, amount ledger.Amount) error {
	switch {
	case customer.Status == Closed:
		return ledger.Errorf(ledger.CodeAccountClosed, "customer %s is closed", customer.Number).InField("customer")
	case customer.Status == Blocked:
		return ledger.Errorf(ledger.CodeForbidden, "customer %s is blocked", customer.Number).InField("customer")
	case card.CustomerID != customer.ID:
		return ledger.Errorf(ledger.CodeNotFound, "customer %s has no card %s", customer.Number, card.ID).InField("card")
	case card.State != CardActive:
		return card.mustBeActive()
	case card.expired(s.engine.Today()):
		return ledger.Errorf(ledger.CodeInvalid, "the card %s has expired; register another one", card.described()).InField("card")
	case amount <= 0 || amount > s.config.Cards.Maximum:
		return ledger.Errorf(ledger.CodeInvalid, "a card is charged above zero and at most %s %s", s.config.Cards.Maximum.Format(s.config.Currency), s.config.Currency).InField("amount")
	}
	var count int
	var sum ledger.Amount
	err := tx.QueryRow(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN state IN ('declined', 'failed') THEN 0 ELSE amount END), 0) AS `+tx.Int8()+`)
		FROM charges WHERE customer_id = $1 AND created_at > $2`, []any{customer.ID, s.engine.Now().Add(-velocityWindow)}, &count, &sum)
	if err != nil {
		return fmt.Errorf("count the charges of %s: %w", customer.Number, err)
	}
	if count >= s.config.Cards.DayCount || sum > s.config.Cards.DayAmount-amount {
		return ledger.Errorf(ledger.CodeLimitExceeded, "the cards of %s were asked for %d charges, and %s %s, in 24 hours; wait, or use a transfer",
			customer.Number, count, sum.Format(s.config.Currency), s.config.Currency).InField("amount")
	}
	return nil
}

// order of a charge in the processor's words.
func (c Charge) asked(card Card, returnURL string) CardCharge {
	r := CardCharge{Key: c.Key, Reference: c.Reference, Token: card.Token, Holder: card.Holder, Amount: c.Amount, Currency: c.Currency,
		Present: c.Present, ReturnURL: returnURL, CreatedAt: c.CreatedAt}
	if c.OrderID != uuid.Nil {
		r.OrderID = c.OrderID.String()
	}
	return r
}

// collect asks the processor for a charge that was written down, and does what follows
// from the answer. No answer is no error: the charge stays requested, and is looked at.
func (s *Service) collect(ctx context.Context, c Charge, card Card, returnURL string) (Charge, error) {
	if returnURL == "" {
		returnURL = s.config.PageURL
	}
	asking, cancel := context.WithTimeout(ctx, processorTimeout)
	defer cancel()
	status, err := s.processor.Charge(asking, c.asked(card, returnURL))
	if err != nil {
		s.log.WarnContext(ctx, "the card processor has not said what became of a charge", "charge", c.ID, "err", err)
		return c, nil
	}
	return s.apply(ctx, c.ID, status)
}

// Refresh asks the processor how a charge stands and does what follows from that.
func (s *Service) Refresh(ctx context.Context, id uuid.UUID) (Charge, error) {
	if s.processor == nil {
		return Charge{}, errNoProcessor()
	}
	c, card, err := s.chargeAndCard(ctx, id)
	if err != nil {
		return Charge{}, err
	}
	c, _, err = s.refresh(ctx, c, card)
	return c, err
}

func (s *Service) chargeAndCard(ctx context.Context, id uuid.UUID) (c Charge, card Card, err error) {
	err = s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if c, err = FindCharge(ctx, tx, id); err != nil {
			return err
		}
		card, err = FindCard(ctx, tx, c.CardID)
		return err
	})
	return c, card, err
}

// ask calls the processor about a charge, with a bound on the time.
func (s *Service) ask(ctx context.Context, c Charge, card Card, how func(context.Context, CardCharge) (CardStatus, error)) (CardStatus, error) {
	asking, cancel := context.WithTimeout(ctx, processorTimeout)
	defer cancel()
	return how(asking, c.asked(card, s.config.PageURL))
}

// refresh returns the charge after what the processor said, and that.
func (s *Service) refresh(ctx context.Context, c Charge, card Card) (Charge, CardStatus, error) {
	status, err := s.ask(ctx, c, card, s.processor.Lookup)
	switch {
	case ledger.CodeOf(err) == ledger.CodeNotFound && c.State == ChargeRequested:
		if s.engine.Now().Before(c.CreatedAt.Add(chargeSettles)) {
			return c, CardStatus{}, nil
		}
		c, err = s.giveUp(ctx, c.ID)
		return c, CardStatus{}, err
	case err != nil:
		return c, CardStatus{}, fmt.Errorf("ask the card processor for charge %s: %w", c.ID, err)
	}
	c, err = s.apply(ctx, c.ID, status)
	return c, status, err
}

// giveUp ends a charge that never came to the processor.
func (s *Service) giveUp(ctx context.Context, id uuid.UUID) (Charge, error) {
	var c Charge
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if c, err = lockCharge(ctx, tx, id); err != nil || c.State != ChargeRequested {
			return err
		}
		return changeCharge(ctx, tx, &c, ChargeFailed, ActorSweeper, ReasonNeverArrived, s.engine.Now())
	})
	if err != nil {
		return Charge{}, fmt.Errorf("give up charge %s: %w", id, err)
	}
	return c, nil
}

// maxSteps bounds the changes that follow from one status: at most a success, its
// posting, and what disputes and refunds make of that.
const maxSteps = 4 + maxDisputes

// apply does what follows from how a charge stands at the processor, one transaction
// for each change. It may be given the same status again, an older one, or several at
// once: what was done is not done again.
func (s *Service) apply(ctx context.Context, id uuid.UUID, status CardStatus) (Charge, error) {
	var c Charge
	for range maxSteps {
		changed := false
		refusal := error(nil)
		step := func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			if c, err = lockCharge(ctx, tx, id); err != nil {
				return err
			}
			before := c.events
			err = s.chargeStep(ctx, tx, &c, status, refusal)
			changed = c.events != before
			return err
		}
		err := s.db.WriteIdempotent(ctx, step)
		if isOrderOver(err) { // nothing of it is there: the charge goes back to the card
			refusal = err
			err = s.db.WriteIdempotent(ctx, step)
		}
		if err != nil {
			return Charge{}, fmt.Errorf("charge %s: %w", id, err)
		}
		if !changed {
			break
		}
	}
	return c, nil
}

// chargeStep makes the one change that a charge is due for, or none.
func (s *Service) chargeStep(ctx context.Context, tx *sqldb.Tx, c *Charge, status CardStatus, refusal error) error {
	now := s.engine.Now()
	if err := s.learnReference(ctx, c, status); err != nil {
		return err
	}
	switch c.State {
	case ChargeRequested, ChargeChallenged:
		return s.outcome(ctx, tx, c, status, now)
	case ChargeDeclined, ChargeFailed:
		if status.Result == CardSucceeded {
			return changeCharge(ctx, tx, c, ChargeSucceeded, ActorProcessor, ReasonLate, now)
		}
	case ChargeSucceeded:
		return s.settleCharge(ctx, tx, c, refusal, now)
	case ChargePosted, ChargeRefunding, ChargeRefunded, ChargeDisputed:
		before := c.events
		if err := s.refunds(ctx, tx, c, status, now); err != nil || c.events != before {
			return err
		}
		return s.disputes(ctx, tx, c, status, now)
	}
	return nil
}

// learnReference keeps the processor's name of the charge, which never changes.
func (s *Service) learnReference(ctx context.Context, c *Charge, status CardStatus) error {
	switch {
	case status.Reference == "" || status.Reference == c.Reference:
		return nil
	case !referencePattern.MatchString(status.Reference):
		return fmt.Errorf("the card processor's reference %q is none", clip(status.Reference))
	case c.Reference != "":
		s.log.ErrorContext(ctx, "the card processor speaks of another charge", "charge", c.ID, "reference", c.Reference, "other", status.Reference)
		return ledger.Errorf(ledger.CodeConflict, "charge %s is %s at the card processor, and not %s", c.ID, c.Reference, status.Reference).InField("reference")
	}
	c.Reference = status.Reference
	return nil
}

// outcome takes the answer that an open charge waits for.
func (s *Service) outcome(ctx context.Context, tx *sqldb.Tx, c *Charge, status CardStatus, now time.Time) error {
	change := func(to ChargeState, reason string) error {
		return changeCharge(ctx, tx, c, to, ActorProcessor, reason, now)
	}
	switch status.Result {
	case CardSucceeded:
		if status.Amount != c.Amount || status.Currency != c.Currency {
			s.log.ErrorContext(ctx, "the card processor charged something else than it was asked for", "charge", c.ID,
				"asked", int64(c.Amount), "charged", int64(status.Amount), "currency", status.Currency)
			return change(ChargeSucceeded, ReasonMismatch)
		}
		return change(ChargeSucceeded, ReasonCharged)
	case CardDeclined:
		return change(ChargeDeclined, string(status.Reason.known()))
	case CardCancelled:
		return change(ChargeFailed, ReasonAbandoned)
	case CardChallenge:
		if c.State == ChargeChallenged {
			return nil
		}
		if u, err := url.Parse(status.ChallengeURL); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || len(status.ChallengeURL) > maxChallengeURL {
			return fmt.Errorf("the card processor's page for the cardholder has no address that a browser takes")
		}
		c.ChallengeURL = status.ChallengeURL
		return change(ChargeChallenged, ReasonChallenge)
	}
	return nil
}

// known returns r where it is one of the reasons, else DeclineOther.
func (r DeclineReason) known() DeclineReason {
	switch r {
	case DeclineFunds, DeclineExpired, DeclineStolen, DeclineLimit, DeclineDetails, DeclineAuthentication, DeclineProcessing, DeclineInvalid:
		return r
	}
	return DeclineOther
}

// settleCharge puts the money of a charge into the wallet, where the rules still want
// it there, and pays the order that it was for. Otherwise it stands apart until it is
// back on the card.
func (s *Service) settleCharge(ctx context.Context, tx *sqldb.Tx, c *Charge, refusal error, now time.Time) error {
	customer, err := FindCustomerByID(ctx, tx, c.CustomerID)
	if err != nil {
		return err
	}
	switch {
	case c.Reason == ReasonLate || c.Reason == ReasonMismatch:
		return s.setApart(ctx, tx, c, c.Reason, now)
	case customer.Status != Open:
		return s.setApart(ctx, tx, c, ReasonCustomerNotOpen, now)
	case refusal != nil:
		return s.setApart(ctx, tx, c, ReasonOrderOver, now)
	}
	made, err := s.engine.PostTx(ctx, tx, s.topUp(customer.WalletID, c.Amount, c.Reference))
	switch ledger.CodeOf(err) {
	case "":
		if err != nil {
			return fmt.Errorf("top up the wallet: %w", err)
		}
	case ledger.CodeLimitExceeded:
		return s.setApart(ctx, tx, c, ReasonCeiling, now)
	case ledger.CodeAccountClosed:
		return s.setApart(ctx, tx, c, ReasonAccountClosed, now)
	default:
		return fmt.Errorf("top up the wallet: %w", err)
	}
	c.TransactionID = made.ID
	if err := changeCharge(ctx, tx, c, ChargePosted, ActorService, ReasonToppedUp, now); err != nil {
		return err
	}
	return s.payOrder(ctx, tx, *c, customer, now)
}

// setApart takes the money of a charge that no wallet may have into suspense, until it
// is back on the card. What the processor charged instead of what it was asked for is
// in no book of ours.
func (s *Service) setApart(ctx context.Context, tx *sqldb.Tx, c *Charge, reason string, now time.Time) error {
	if reason != ReasonMismatch {
		if _, err := s.postStep(ctx, tx, *c, "Card charge to be refunded", ledger.Posting{Debit: ledger.SystemAccountID(AccountCardsToSettle),
			Credit: ledger.SystemAccountID(AccountSuspense), Amount: c.Amount}); err != nil {
			return err
		}
		c.HeldApart = c.Amount
	}
	return changeCharge(ctx, tx, c, ChargeRefunding, ActorService, reason, now)
}

// postStep posts what the next change of a charge means in the books.
func (s *Service) postStep(ctx context.Context, tx *sqldb.Tx, c Charge, label string, postings ...ledger.Posting) (ledger.Transaction, error) {
	for i := range postings {
		postings[i].Currency = c.Currency
	}
	made, err := s.engine.PostTx(ctx, tx, ledger.PostRequest{Key: c.stepKey(), Journal: ledger.JournalCards, Label: label,
		Source: ledger.Source{Channel: "card", ID: c.Reference}, Postings: postings})
	if err != nil {
		return ledger.Transaction{}, fmt.Errorf("post %q: %w", label, err)
	}
	return made, nil
}
