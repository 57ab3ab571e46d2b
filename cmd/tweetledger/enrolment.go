package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"tweetledger/adapters/notify"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
)

func (a *app) customerEnrolCommand() *cobra.Command {
	var r payments.StartEnrolmentRequest
	c := &cobra.Command{
		Use: "enrol", Short: "Let a person become a customer with a code sent to the telephone",
		Long: `enrol begins what a person can begin on the page /enrol/ as well: a code of six digits is
sent to the mobile number, which must be a French one that is in use, and the person goes
on at the address that is printed: the code first, then a secret code of the own choice.
Then there is a customer with a wallet. Hand the address to nobody else.

The number of a customer gets no code but a word about that; the enrolment is refused.
Staff who have the code from the person enter it with "customer verify-phone"; "customer
add" is for staff who have made sure of the number in another way.`,
		Example: `  tweetledger customer enrol --name "Chloé Bernard" --phone "06 12 34 56 90"`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			r.Actor = a.actor(r.Actor)
			e, err := service.StartEnrolment(c.Context(), r)
			if err != nil {
				return err
			}
			if e.State != payments.EnrolmentStarted {
				_, err = fmt.Fprintf(a.out, "enrolment %s is %s (%s)\n", e.ID, e.State, e.Reason)
				return err
			}
			_, err = fmt.Fprintf(a.out, "enrolment %s is started; a code goes to %s\n%s\ngood until %s\n", e.ID, notify.MaskPhone(e.Phone),
				service.EnrolmentAddress(e.ID), e.ExpiresAt.UTC().Format(time.RFC3339))
			return err
		},
	}
	c.Flags().StringVar(&r.Name, "name", "", "full name")
	c.Flags().StringVar(&r.Phone, "phone", "", "French mobile number, like 06 12 34 56 78 or +33612345678")
	c.Flags().BoolVar(&r.Named, "named", false, "consents to be named to charities")
	c.Flags().StringVar(&r.Language, "language", payments.French, "to speak to the person: fr or en")
	required(c, "name", "phone")
	actorFlag(c, &r.Actor)
	return c
}

func (a *app) customerVerifyPhoneCommand() *cobra.Command {
	var actor string
	var send bool
	c := &cobra.Command{
		Use: "verify-phone NUMBER", Short: "Prove a customer's mobile number with a code that is sent to it",
		Long: `verify-phone --send sends a code of six digits to the number that we have of a customer.
The customer reads it to you, and verify-phone without --send takes it: from the terminal,
without showing it, or as one line from standard input. The number is proven then, and a
blocked secret code has new tries. Customers can do the same by themselves, on the page
/verify.

NUMBER may be the id of an enrolment instead, whose code was sent when it began; --send
sends another one. Whatever is wrong with a code, the answer is the same.`,
		Example: `  tweetledger customer verify-phone c-000017 --send
  tweetledger customer verify-phone c-000017`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			p := prover{service: service, name: args[0], actor: a.actor(actor)}
			if p.enrolment, err = uuid.Parse(args[0]); err != nil {
				p.enrolment = uuid.Nil
			}
			if send {
				if err := p.send(c.Context()); err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "a code goes to the number of %s\n", args[0])
				return err
			}
			code, err := a.readCode()
			if err != nil {
				return err
			}
			if err := p.prove(c.Context(), code); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "the number of %s is proven\n", args[0])
			return err
		},
	}
	c.Flags().BoolVar(&send, "send", false, "send a code")
	actorFlag(c, &actor)
	return c
}

// prover proves the number of a customer, or of an enrolment.
type prover struct {
	service   *payments.Service
	name      string
	enrolment uuid.UUID
	actor     string
}

func (p prover) send(ctx context.Context) error {
	if p.enrolment != uuid.Nil {
		return p.service.ResendCode(ctx, payments.EnrolmentStep{ID: p.enrolment, Actor: p.actor})
	}
	return p.service.SendVerification(ctx, p.name, p.actor)
}

func (p prover) prove(ctx context.Context, code string) error {
	if p.enrolment != uuid.Nil {
		_, err := p.service.VerifyEnrolment(ctx, payments.EnrolmentStep{ID: p.enrolment, Code: code, Actor: p.actor})
		return err
	}
	return p.service.VerifyPhone(ctx, p.name, code, p.actor)
}

func (a *app) customerEnrolmentsCommand() *cobra.Command {
	c := &cobra.Command{Use: "enrolments", Short: "Look at people who become customers, and refuse one"}
	c.AddCommand(a.enrolmentListCommand(), a.enrolmentShowCommand(), a.enrolmentRefuseCommand())
	return c
}

func (a *app) enrolmentListCommand() *cobra.Command {
	var format, state, after string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List enrolments, oldest first, with their states and reasons",
		Long: `list shows people who become customers by themselves, or tried to: how far they have come,
and why an enrolment has ended. Name and number of those that came to nothing are
forgotten after rules.text_retention.`,
		Example: `  tweetledger customer enrolments list --state refused`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var list []payments.Enrolment
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				f := payments.EnrolmentFilter{State: payments.EnrolmentState(state), Limit: limit}
				if after != "" {
					before, err := findEnrolment(ctx, tx, after)
					if err != nil {
						return err
					}
					f.After = before.Cursor()
				}
				list, err = payments.ListEnrolments(ctx, tx, f)
				return err
			})
			if err != nil {
				return err
			}
			table := reports.Table{Name: "enrolments", Title: "Enrolments", GeneratedAt: book.Now(), Columns: []reports.Column{
				{Name: "created_at", Title: "Begun", Kind: reports.Instant}, {Name: "id", Title: "Id", Kind: reports.Text},
				{Name: "name", Title: "Name", Kind: reports.Text}, {Name: "phone", Title: "Phone", Kind: reports.Text},
				{Name: "state", Title: "State", Kind: reports.Text}, {Name: "reason", Title: "Reason", Kind: reports.Text},
			}}
			for _, e := range list {
				table.Rows = append(table.Rows, reports.Row{Cells: []any{e.CreatedAt, e.ID.String(), e.Name, notify.MaskPhone(e.Phone), string(e.State), e.Reason}})
			}
			if len(list) == limit {
				table.Notes = append(table.Notes, fmt.Sprintf("There may be more: go on with --after %s", list[limit-1].ID))
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&state, "state", "", "started, phone_verified, card_registered, enrolled, refused or expired (default all)")
	c.Flags().StringVar(&after, "after", "", "go on behind the enrolment with this id")
	c.Flags().IntVar(&limit, "limit", 1000, "how many at most")
	formatFlag(c, &format)
	return c
}

func findEnrolment(ctx context.Context, tx *sqldb.Tx, text string) (payments.Enrolment, error) {
	id, err := parseEnrolment(text)
	if err != nil {
		return payments.Enrolment{}, err
	}
	return payments.FindEnrolment(ctx, tx, id)
}

func parseEnrolment(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, ledger.Errorf(ledger.CodeInvalid, "%.40q is not the id of an enrolment; \"tweetledger customer enrolments list\" shows them", text).InField("id")
	}
	return id, nil
}

func (a *app) enrolmentShowCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "show ID", Short: "Show an enrolment with each change of its state",
		Long: `show prints how far somebody has come who becomes a customer, and when, by whom and why
each step was made.`,
		Example: `  tweetledger customer enrolments show 7d9f2f8e-7f0c-4f4e-9c55-6d6c9be0b7a1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var e payments.Enrolment
			var customer payments.Customer
			var events []payments.EnrolmentEvent
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if e, err = findEnrolment(ctx, tx, args[0]); err != nil {
					return err
				}
				if e.CustomerID != uuid.Nil {
					if customer, err = payments.FindCustomerByID(ctx, tx, e.CustomerID); err != nil {
						return err
					}
				}
				events, err = payments.EnrolmentEvents(ctx, tx, e.ID)
				return err
			})
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "enrolment", Title: "Enrolment " + e.ID.String(), GeneratedAt: book.Now(),
				Facts: []reports.Fact{
					{Name: "name", Title: "Name", Value: e.Name}, {Name: "phone", Title: "Phone", Value: notify.MaskPhone(e.Phone)},
					{Name: "state", Title: "State", Value: string(e.State)}, {Name: "reason", Title: "Reason", Value: e.Reason},
					{Name: "customer", Title: "Customer", Value: customer.Number}, {Name: "expires_at", Title: "Good until", Value: e.ExpiresAt.UTC().Format(time.RFC3339)},
				},
				Columns: []reports.Column{
					{Name: "at", Title: "At", Kind: reports.Instant}, {Name: "from", Title: "From", Kind: reports.Text}, {Name: "to", Title: "To", Kind: reports.Text},
					{Name: "actor", Title: "By", Kind: reports.Text}, {Name: "reason", Title: "Reason", Kind: reports.Text},
				},
			}
			for _, event := range events {
				table.Rows = append(table.Rows, reports.Row{Cells: []any{event.At, string(event.From), string(event.To), event.Actor, event.Reason}})
			}
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

func (a *app) enrolmentRefuseCommand() *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: "refuse ID", Short: "End an enrolment, for a reason",
		Long: `refuse ends an enrolment that is not complete. The person is not told why; the reason
stands in its history.`,
		Example: `  tweetledger customer enrolments refuse 7d9f2f8e-7f0c-4f4e-9c55-6d6c9be0b7a1 --reason "asks under a false name"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseEnrolment(args[0])
			if err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			if err := service.RefuseEnrolment(c.Context(), id, a.actor(actor), strings.TrimSpace(reason)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "enrolment %s is refused\n", id)
			return err
		},
	}
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}

// enrolmentMetrics tell how people become customers, and whether somebody guesses at
// codes or has them sent for money.
type enrolmentMetrics struct{ open, refused, codes, exhausted, unsent prometheus.Gauge }

func newEnrolmentMetrics(registerer prometheus.Registerer) *enrolmentMetrics {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help + " Counted up to 10,000."})
		registerer.MustRegister(g)
		return g
	}
	return &enrolmentMetrics{
		open:      gauge("tweetledger_enrolments_open", "People who are becoming customers."),
		refused:   gauge("tweetledger_enrolments_refused", "Enrolments begun in the last 24 hours that were refused."),
		codes:     gauge("tweetledger_one_time_codes", "One-time codes that were asked for in the last hour."),
		exhausted: gauge("tweetledger_one_time_codes_exhausted", "One-time codes of the last 24 hours that were guessed at until they ended."),
		unsent:    gauge("tweetledger_one_time_codes_unsent", "One-time codes of the last hour that wait to be sent, or were given up."),
	}
}

func (m *enrolmentMetrics) measure(ctx context.Context, book *engine.Engine) error {
	var counts payments.EnrolmentCounts
	err := book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		counts, err = payments.MeasureEnrolments(ctx, tx, book.Now())
		return err
	})
	if err != nil {
		return err
	}
	m.open.Set(float64(counts.Open))
	m.refused.Set(float64(counts.Refused))
	m.codes.Set(float64(counts.Codes))
	m.exhausted.Set(float64(counts.Exhausted))
	m.unsent.Set(float64(counts.Unsent))
	return nil
}
