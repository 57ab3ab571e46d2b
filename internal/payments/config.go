package payments

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"tweetledger/ledger"
)

// Config holds the rules of the service. DefaultConfig gives all of them but
// Key and PageURL, which every installation has its own.
type Config struct {
	Currency   ledger.Currency // of every wallet and payment
	BankName   string          // as customers know it, in notices and on the page
	BankHandle string          // without @: the account that commands mention

	// The most that one payment may be, in minor units. The cap follows the
	// payee's kind, never the hashtag; who is not registered counts as a person.
	PersonCap   ledger.Amount
	CharityCap  ledger.Amount
	BusinessCap ledger.Amount
	// WalletCeiling bounds what a wallet may hold, payments on their way included.
	WalletCeiling ledger.Amount

	// ConfirmationTerm is how long a payer has to confirm; then the order expires
	// and what was held is released.
	ConfirmationTerm time.Duration
	// UnclaimedTerm is how long a confirmed payment waits for a payee who is not
	// registered; then it is returned. UnclaimedReminder before that the payee is
	// reminded.
	UnclaimedTerm     time.Duration
	UnclaimedReminder time.Duration

	// PhonePrefixes are those that a customer's number may start with, in E.164.
	PhonePrefixes []string

	// SecretTries wrong codes in a row block a customer's secret code.
	SecretTries int
	Secret      SecretParams
	// PageIdle is how long a confirmation page may stay open before its form is
	// refused (RTS 2018/389 art. 4: five minutes at most).
	PageIdle time.Duration
	// PageURL is where the confirmation pages are found, for notices:
	// "https://pay.example/confirm".
	PageURL string

	// Key is at least MinKey bytes that only this service knows. From it come the
	// keys for text hashes, pseudonyms, confirmation links, order bindings and the
	// pepper of secret codes and one-time codes. Changing it ends open confirmation links, changes
	// all pseudonyms and makes every customer set a new code.
	Key []byte

	// DayAnswers is how many answers somebody gets in rolling 24 hours to what makes no
	// payment: other commands, what is refused, warnings. One more says that it is the
	// last one for now. 1 to MaxDayAnswers.
	DayAnswers int

	// TextRetention is how long the text of a message is kept. What is not a
	// command loses its text as soon as that is known.
	TextRetention time.Duration

	// IdentityYears is how many years after the end of the relationship the identity of
	// a customer is kept before it may be erased: 5 against money laundering (CMF
	// L.561-12). 0 to MaxIdentityYears.
	IdentityYears int

	// LinkTerm is how long an address under which a customer links an account is good.
	LinkTerm time.Duration

	Outbox    OutboxConfig
	Screening ScreeningConfig
	Enrolment EnrolmentConfig
	Cards     CardConfig
}

// SecretParams are the costs of argon2id (RFC 9106).
type SecretParams struct {
	MemoryKiB   uint32
	Iterations  uint32
	Parallelism uint8
	// Workers bounds the hashes computed at once by one process, and so their memory.
	Workers int
}

// OutboxConfig says how stubbornly replies and notices are sent.
type OutboxConfig struct {
	Tries        int           // after so many the row is dead and waits for staff; being told to come back later is none
	FirstPause   time.Duration // after the first failure; doubles with each
	LongestPause time.Duration
	// SendTimeout bounds one attempt. A row that a process has claimed is nobody
	// else's for Lease, which must be longer.
	SendTimeout time.Duration
	Lease       time.Duration
}

// maxBankName bounds Config.BankName, so that every reply with it fits a post.
const maxBankName = 30

// MaxIdentityYears bounds Config.IdentityYears: no law asks for more.
const MaxIdentityYears = 30

// MinKey is the shortest Config.Key in bytes: as much as its HMAC-SHA256 uses.
const MinKey = 32

// DefaultConfig returns the rules that the service is described by, without Key
// and PageURL.
func DefaultConfig() Config {
	return Config{
		Currency:          ledger.EUR,
		BankName:          "S-money",
		BankHandle:        "SmoneyFR",
		PersonCap:         250_00,
		CharityCap:        500_00,
		BusinessCap:       500_00,
		WalletCeiling:     2500_00,
		ConfirmationTerm:  48 * time.Hour,
		UnclaimedTerm:     5 * 24 * time.Hour,
		UnclaimedReminder: 24 * time.Hour,
		PhonePrefixes:     []string{"+336", "+337"}, // French mobile numbers
		SecretTries:       5,
		// RFC 9106, section 4: the second recommended option, for servers where
		// 2 GiB a hash are too much.
		Secret:        SecretParams{MemoryKiB: 64 * 1024, Iterations: 3, Parallelism: 4, Workers: 4},
		PageIdle:      5 * time.Minute,
		DayAnswers:    30,
		TextRetention: 30 * 24 * time.Hour,
		LinkTerm:      3 * 24 * time.Hour,
		IdentityYears: 5,
		Screening:     DefaultScreening(),
		Enrolment:     DefaultEnrolment(),
		Cards:         DefaultCards(),
		Outbox: OutboxConfig{
			Tries:        20,
			FirstPause:   10 * time.Second,
			LongestPause: time.Hour,
			SendTimeout:  20 * time.Second,
			Lease:        time.Minute,
		},
	}
}

// Validate checks the configuration. The error is an Error with CodeInvalid whose
// field is the setting's name.
func (c Config) Validate() error {
	invalid := func(field, format string, args ...any) error {
		return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(field)
	}
	if !c.Currency.Known() {
		return invalid("currency", "%q is not an ISO 4217 currency code", string(c.Currency))
	}
	if !ledger.Printable(c.BankName, maxBankName) || strings.TrimSpace(c.BankName) != c.BankName {
		return invalid("bank_name", "the bank needs a name of 1 to %d bytes to sign notices with", maxBankName)
	}
	if !handlePattern.MatchString(c.BankHandle) {
		return invalid("bank_handle", "%q is not a handle; write it without @", clip(c.BankHandle))
	}
	for name, amount := range map[string]ledger.Amount{"person_cap": c.PersonCap, "charity_cap": c.CharityCap,
		"business_cap": c.BusinessCap, "wallet_ceiling": c.WalletCeiling} {
		if amount <= 0 {
			return invalid(name, "the amount must be above zero, not %d", int64(amount))
		}
	}
	for name, d := range map[string]time.Duration{"confirmation_term": c.ConfirmationTerm, "unclaimed_term": c.UnclaimedTerm, "unclaimed_reminder": c.UnclaimedReminder,
		"page_idle": c.PageIdle, "text_retention": c.TextRetention, "link_term": c.LinkTerm, "outbox.first_pause": c.Outbox.FirstPause,
		"outbox.send_timeout": c.Outbox.SendTimeout} {
		if d <= 0 {
			return invalid(name, "the time must be above zero, not %s", d)
		}
	}
	switch {
	case c.DayAnswers < 1 || c.DayAnswers > MaxDayAnswers:
		return invalid("day_answers", "the answers to one person in 24 hours must be 1 to %d, not %d", MaxDayAnswers, c.DayAnswers)
	case c.UnclaimedReminder >= c.UnclaimedTerm:
		return invalid("unclaimed_reminder", "the reminder %s before the end must be shorter than the term, %s", c.UnclaimedReminder, c.UnclaimedTerm)
	case c.IdentityYears < 0 || c.IdentityYears > MaxIdentityYears:
		return invalid("identity_years", "the identity of customers is kept for 0 to %d years, not %d", MaxIdentityYears, c.IdentityYears)
	case c.SecretTries < 1:
		return invalid("secret_tries", "at least one try is needed, not %d", c.SecretTries)
	case c.Secret.MemoryKiB < 8*uint32(c.Secret.Parallelism) || c.Secret.Iterations < 1 || c.Secret.Parallelism < 1 || c.Secret.Workers < 1:
		return invalid("secret", "argon2id needs at least 1 iteration, 1 lane, 8 KiB a lane and 1 worker")
	case len(c.Key) < MinKey:
		return invalid("key", "the key has %d bytes and needs %d", len(c.Key), MinKey)
	case c.Outbox.Tries < 1:
		return invalid("outbox.tries", "at least one try is needed, not %d", c.Outbox.Tries)
	case c.Outbox.LongestPause < c.Outbox.FirstPause:
		return invalid("outbox.longest_pause", "the longest pause %s is shorter than the first %s", c.Outbox.LongestPause, c.Outbox.FirstPause)
	case c.Outbox.Lease <= c.Outbox.SendTimeout:
		return invalid("outbox.lease", "the lease %s must be longer than an attempt may take, %s", c.Outbox.Lease, c.Outbox.SendTimeout)
	}
	if err := c.Screening.validate(); err != nil {
		return err
	}
	if err := c.Enrolment.validate(); err != nil {
		return err
	}
	if err := c.Cards.validate(); err != nil {
		return err
	}
	u, err := url.Parse(c.PageURL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.RawQuery != "" || strings.HasSuffix(u.Path, "/") {
		return invalid("page_url", "%q is not the address of the confirmation pages; write it like https://pay.example/confirm", clip(c.PageURL))
	}
	if slices.Contains([]string{c.LinkURL(), c.EnrolURL(), c.VerifyURL(), c.AccountURL(), c.CardReturnURL()}, c.PageURL) {
		return invalid("page_url", "%q is the address of other pages; give the confirmation pages another name than link, enrol, verify, account or card-return", clip(c.PageURL))
	}
	return nil
}

// capFor returns the most that one payment to a payee of this kind may be.
func (c Config) capFor(kind PayeeKind) ledger.Amount {
	switch kind {
	case Charity:
		return c.CharityCap
	case Business:
		return c.BusinessCap
	}
	return c.PersonCap
}
