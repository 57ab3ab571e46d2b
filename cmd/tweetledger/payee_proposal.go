package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reports"
)

// sayProposed tells what a proposal needs to count.
func (a *app) sayProposed(p payments.PayeeProposal) error {
	if p.State == payments.ProposalApproved {
		_, err := fmt.Fprintf(a.out, "%s is so already; nothing changes\n", p.Code)
		return err
	}
	what := "the " + string(p.New.Kind) + " " + p.Code
	if p.Kind == payments.ProposalChange {
		what = "a change of " + p.Code
	}
	_, err := fmt.Fprintf(a.out, "proposed %s; it counts once another person approves it: tweetledger payee approve %s %d\n", what, p.Code, p.Number)
	return err
}

// changeCommand makes a command that proposes a change of a payee.
func (a *app) changeCommand(c *cobra.Command, change func(service *payments.Service) (payments.PayeeChange, error)) *cobra.Command {
	var actor, reason string
	c.Args = cobra.ExactArgs(1)
	c.RunE = func(c *cobra.Command, args []string) error {
		service, _, err := a.openPayments(c.Context())
		if err != nil {
			return err
		}
		wanted, err := change(service)
		if err != nil {
			return err
		}
		p, err := service.ProposePayeeChange(c.Context(), args[0], wanted, a.actor(actor), reason)
		if err != nil {
			return err
		}
		return a.sayProposed(p)
	}
	reasonFlag(c, &reason)
	actorFlag(c, &actor)
	return c
}

func (a *app) payeeBankCommand() *cobra.Command {
	var iban, bic string
	c := a.changeCommand(&cobra.Command{
		Use: "bank CODE --iban IBAN", Short: "Propose the bank account that a charity or business is paid to",
		Long: `bank proposes where payouts go. The IBAN is checked, and counts once another person has
approved it with "payee approve": compare it with what the charity has signed. Until then
payouts go where they went.`,
		Example: `  tweetledger payee bank acf --iban "FR14 2004 1010 0505 0001 3M02 606" --reason "signed form of 20 November"`,
	}, func(*payments.Service) (payments.PayeeChange, error) {
		if iban == "" {
			return payments.PayeeChange{}, ledger.Errorf(ledger.CodeInvalid, "give the IBAN to pay out to").InField("iban")
		}
		return payments.PayeeChange{IBAN: iban, BIC: bic}, nil
	})
	c.Flags().StringVar(&iban, "iban", "", "IBAN within SEPA")
	c.Flags().StringVar(&bic, "bic", "", "BIC (optional)")
	required(c, "iban")
	return c
}

func (a *app) payeeTermsCommand() *cobra.Command {
	var name, rhythm, minimum, from, anchor string
	var points, vat int
	var tiers []string
	var c *cobra.Command
	c = a.changeCommand(&cobra.Command{
		Use: "terms CODE", Short: "Propose another name, commission or rhythm of a charity or business",
		Long: `terms proposes what is agreed with a charity or business; it counts once another person
has approved it with "payee approve". What is not named stays; --tier "" takes the tiers
away. Another commission counts for the payouts that are prepared from the day of its
approval, or from --from where that is later.`,
		Example: `  tweetledger payee terms acf --commission 120 --commission-minimum 0.50 --rhythm weekly --reason "contract of 2027"
  tweetledger payee terms acf --commission 150 --tier 1000.00:100 --from 2027-01-01 --reason "contract of 2027"`,
	}, func(service *payments.Service) (payments.PayeeChange, error) {
		change := payments.PayeeChange{Name: name, Rhythm: payments.Rhythm(rhythm)}
		if c.Flags().Changed("commission") {
			change.CommissionPoints = &points
		}
		if c.Flags().Changed("commission-minimum") {
			amount, err := ledger.ParseAmount(minimum, service.Config().Currency)
			if err != nil {
				return change, fmt.Errorf("--commission-minimum: %w", err)
			}
			change.CommissionMinimum = &amount
		}
		if c.Flags().Changed("vat") {
			change.VATPoints = &vat
		}
		var err error
		if c.Flags().Changed("tier") {
			parsed, err := parseTiers(tiers, service.Config().Currency)
			if err != nil {
				return change, err
			}
			change.Tiers = &parsed
		}
		if change.TermsFrom, err = parseDate("--from", from); err != nil {
			return change, err
		}
		change.Anchor, err = parseDate("--anchor", anchor)
		return change, err
	})
	c.Flags().StringVar(&name, "name", "", "full name")
	c.Flags().IntVar(&points, "commission", 0, "commission in hundredths of a percent: 150 is 1.5 %")
	c.Flags().StringVar(&minimum, "commission-minimum", "0", "the least commission of a payout")
	c.Flags().IntVar(&vat, "vat", 0, "VAT on the commission, in hundredths of a percent: 2000 is 20 %")
	c.Flags().StringVar(&from, "from", "", "the day from which another commission counts (default the day of its approval)")
	c.Flags().StringVar(&rhythm, "rhythm", "", "daily, weekly, fortnightly or monthly")
	tierFlags(c, &tiers, &anchor)
	return c
}

func (a *app) payeeAddressCommand() *cobra.Command {
	var address payments.Address
	c := a.changeCommand(&cobra.Command{
		Use: "address CODE", Short: "Propose the postal address of a charity or business",
		Long: `address proposes the postal address, in the parts that SEPA messages have for it: town and
country at least. It counts once another person has approved it with "payee approve".`,
		Example: `  tweetledger payee address acf --street "rue de Niepce" --building 14 --post-code 75014 --town Paris --reason "letterhead"`,
	}, func(*payments.Service) (payments.PayeeChange, error) {
		return payments.PayeeChange{Address: &address}, nil
	})
	addressFlags(c, &address)
	required(c, "town")
	return c
}

func addressFlags(c *cobra.Command, address *payments.Address) {
	c.Flags().StringVar(&address.Street, "street", "", "street, at most 70 characters")
	c.Flags().StringVar(&address.Building, "building", "", "number of the building")
	c.Flags().StringVar(&address.PostCode, "post-code", "", "post code")
	c.Flags().StringVar(&address.Town, "town", "", "town, at most 35 characters")
	c.Flags().StringVar(&address.Country, "country", "", "country, like FR (needed with a town)")
}

func (a *app) payeeProposalsCommand() *cobra.Command {
	var format, after string
	var all bool
	var limit int
	c := &cobra.Command{
		Use: "proposals [CODE]", Short: "List what waits for another person's approval, with old and new values",
		Long: `proposals shows the charities and businesses, and the changes of them, that one person has
proposed and another one is to approve or reject. --all shows what was decided, too: with
it this is the history of a payee.`,
		Example: `  tweetledger payee proposals
  tweetledger payee proposals acf --all`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			f := payments.ProposalFilter{Code: strings.Join(args, ""), Decided: all, Limit: limit}
			if after != "" {
				code, number, _ := strings.Cut(after, "/")
				f.AfterCode = code
				if f.AfterNumber, err = parseProposal(number); err != nil {
					return err
				}
			}
			var list []payments.PayeeProposal
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				list, err = payments.ListProposals(ctx, tx, f)
				return err
			})
			if err != nil {
				return err
			}
			table := proposalTable(list)
			table.GeneratedAt = book.Now()
			if len(list) == limit {
				table.Notes = append(table.Notes, fmt.Sprintf("There may be more: go on with --after %s/%d", list[limit-1].Code, list[limit-1].Number))
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().BoolVar(&all, "all", false, "those that were decided, too")
	c.Flags().StringVar(&after, "after", "", "go on behind this proposal, like acf/1")
	c.Flags().IntVar(&limit, "limit", 1000, "how many at most")
	formatFlag(c, &format)
	return c
}

// proposalTable has a row for each value that a proposal changes.
func proposalTable(list []payments.PayeeProposal) reports.Table {
	table := reports.Table{Name: "payee_proposals", Title: "Proposals of payees", Columns: []reports.Column{
		{Name: "code", Title: "Code", Kind: reports.Text}, {Name: "number", Title: "No.", Kind: reports.Integer},
		{Name: "state", Title: "State", Kind: reports.Text}, {Name: "what", Title: "What", Kind: reports.Text},
		{Name: "old", Title: "Now", Kind: reports.Text}, {Name: "new", Title: "Proposed", Kind: reports.Text},
		{Name: "at", Title: "At", Kind: reports.Instant}, {Name: "actor", Title: "By", Kind: reports.Text}, {Name: "reason", Title: "Reason", Kind: reports.Text},
		{Name: "decided_by", Title: "Decided by", Kind: reports.Text}, {Name: "decision", Title: "Because", Kind: reports.Text},
	}}
	for _, p := range list {
		before, after := valuesShown(p.Old), valuesShown(p.New)
		for i := range after {
			if p.Kind == payments.ProposalEnrolment {
				before[i].value = ""
			}
			if before[i].value == after[i].value {
				continue
			}
			table.Rows = append(table.Rows, reports.Row{Cells: []any{p.Code, int64(p.Number), string(p.State), after[i].name, before[i].value, after[i].value,
				p.ProposedAt, p.ProposedBy, p.Reason, p.DecidedBy, p.Decision}})
		}
	}
	return table
}

type shownValue struct{ name, value string }

// valuesShown returns the values of a payee as people read them.
func valuesShown(v payments.PayeeValues) []shownValue {
	where := strings.TrimSpace(strings.Join([]string{v.Address.Building, v.Address.Street}, " "))
	town := strings.TrimSpace(strings.Join([]string{v.Address.PostCode, v.Address.Town}, " "))
	address := strings.Trim(strings.Join([]string{where, town, v.Address.Country}, ", "), ", ")
	return []shownValue{
		{"kind", string(v.Kind)}, {"name", v.Name}, {"IBAN", v.IBAN}, {"BIC", v.BIC}, {"commission", percent(v.CommissionPoints)},
		{"least commission", v.CommissionMinimum.Format(ledger.EUR)}, {"tiers", tiersText(v.Tiers)}, {"VAT on it", vatText(v.VATPoints)},
		{"commission from", dateText(v.TermsFrom)}, {"paid", string(v.Rhythm)}, {"counted from", dateText(v.Anchor)}, {"address", address},
	}
}

func dateText(d ledger.Date) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}

// parseProposal reads the number of a proposal.
func parseProposal(text string) (int, error) {
	number, err := strconv.ParseInt(text, 10, 32)
	if err != nil || number < 1 {
		return 0, ledger.Errorf(ledger.CodeInvalid, "%.40q is not the number of a proposal; \"tweetledger payee proposals\" shows them", text).InField("number")
	}
	return int(number), nil
}

func (a *app) payeeApproveCommand() *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: "approve CODE NUMBER", Short: "Approve what another person has proposed of a charity or business",
		Long: `approve puts a proposal into force: the payee is there, or is changed. It takes another
person than the one who proposed it. Look at it with "payee proposals" and compare it with
what the charity has signed: the number stands for just these values.`,
		Example: `  tweetledger payee approve acf 1 --actor bruno`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			number, err := parseProposal(args[1])
			if err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			payee, err := service.ApprovePayee(c.Context(), args[0], number, a.actor(actor), reason)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "approved proposal %d: %s %s has account %s\n", number, payee.Kind, payee.Code, payee.AccountCode())
			return err
		},
	}
	c.Flags().StringVar(&reason, "reason", "checked", "why, for the audit trail")
	actorFlag(c, &actor)
	return c
}

func (a *app) payeeRejectCommand() *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: "reject CODE NUMBER", Short: "Reject a proposal of a charity or business, for a reason",
		Long: `reject ends a proposal without effect; another one can be made then. Who proposed it may
withdraw it this way, too.`,
		Example: `  tweetledger payee reject acf 2 --reason "the form is not signed"`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			number, err := parseProposal(args[1])
			if err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			if err := service.RejectPayee(c.Context(), args[0], number, a.actor(actor), reason); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "rejected proposal %d of %s\n", number, args[0])
			return err
		},
	}
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}

func (a *app) payeeStatusCommand(use, short string, status payments.Status) *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: use + " CODE", Short: short,
		Long: use + ` changes what may be done with a charity or business. While it is blocked nobody
can pay it and nothing is paid out to it; to close one it must be owed nothing. The reason
stands in the audit trail.`,
		Example: "  tweetledger payee " + use + ` acf --reason "letter of the prefecture"`, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			if err := service.SetPayeeStatus(c.Context(), args[0], status, a.actor(actor), reason); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s is %s\n", args[0], status)
			return err
		},
	}
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}
