package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tweetledger/adapters/notify"
	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
)

func (a *app) customerCommand() *cobra.Command {
	command := &cobra.Command{Use: "customer", Short: "Enrol customers, link their Twitter accounts, set codes, top up wallets"}
	command.AddCommand(a.customerAddCommand(), a.customerEnrolCommand(), a.customerEnrolmentsCommand(), a.customerVerifyPhoneCommand(), a.customerListCommand(), a.customerShowCommand(), a.customerLinkCommand(),
		a.customerLinkInviteCommand(), a.customerAccountPageCommand(), a.customerBankCommand(), a.customerCashOutCommand(), a.customerUnlinkCommand(), a.customerCodeCommand(),
		a.customerCorrectCommand(), a.customerChangesCommand(), a.customerExportCommand(), a.customerEraseCommand(), a.customerStatusCommand("close", "Close a customer's account, at zero and for ever",
			"close ends an account whose wallet is empty, nothing on its way included: pay out or\nreverse first. It cannot be opened again; the person may enrol anew.", payments.Closed),
		a.customerTopUpCommand(), a.customerStatusCommand("block", "Block a customer, who then neither pays nor is paid",
			"block keeps a customer from paying and from being paid, until unblock lifts it. The\nreason stands in the audit trail.", payments.Blocked),
		a.customerStatusCommand("unblock", "Lift a customer's block",
			"unblock lets a blocked customer pay and be paid again. A blocked secret code is another\nmatter: unblock-code lifts that.", payments.Open), a.customerUnblockCodeCommand())
	return command
}

func (a *app) customerAddCommand() *cobra.Command {
	var n payments.NewCustomer
	c := &cobra.Command{
		Use: "add", Short: "Enrol a customer and open the wallet",
		Long: `add enrols a person and opens the wallet. The number comes from the service unless
--number gives it; the same number with the same name and phone changes nothing.

The phone gets the links on which payments are confirmed.`,
		Example: `  tweetledger customer add --name "Marie Laurent" --phone +33612345678`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			customer, err := service.EnrolCustomer(c.Context(), n)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "enrolled customer %s with wallet %s\n", customer.Number, payments.WalletCode(customer.Number))
			return err
		},
	}
	c.Flags().StringVar(&n.Name, "name", "", "full name")
	c.Flags().StringVar(&n.Phone, "phone", "", "mobile number, like +33612345678")
	c.Flags().StringVar(&n.Number, "number", "", "customer number, like c-000017 (default the next one)")
	c.Flags().BoolVar(&n.Named, "named", false, "consents to be named to charities")
	required(c, "name", "phone")
	return c
}

func (a *app) customerListCommand() *cobra.Command {
	var format, after string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List customers with their wallets",
		Long: `list shows customers by number: status, state of the secret code (none, set or
blocked), Twitter accounts, and what the wallet holds and has available.`,
		Example: `  tweetledger customer list --format csv`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var table reports.Table
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table, err = customerTable(ctx, tx, payments.CustomerFilter{AfterNumber: after, Limit: limit})
				return err
			})
			if err != nil {
				return err
			}
			table.GeneratedAt = book.Now()
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&after, "after", "", "go on behind this customer number")
	c.Flags().IntVar(&limit, "limit", 1000, "how many at most")
	formatFlag(c, &format)
	return c
}

// newestEvents bounds the history that "customer show" prints.
const newestEvents = 100

func (a *app) customerShowCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "show NUMBER", Short: "Show a customer with what was done, by whom and why",
		Long: `show prints a customer's state, Twitter accounts and newest history: blocks, secret codes,
invitations to link an account, accounts that were linked, refused or taken away.`,
		Example: `  tweetledger customer show c-000017`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var customer payments.Customer
			var accounts []payments.Link
			var events []payments.PartyEvent
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if customer, err = payments.FindCustomer(ctx, tx, args[0]); err != nil {
					return err
				}
				if accounts, err = payments.ListLinks(ctx, tx, customer.ID); err != nil {
					return err
				}
				events, err = payments.PartyEvents(ctx, tx, customer.ID, newestEvents)
				return err
			})
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "customer", Title: "Customer " + customer.Number, GeneratedAt: book.Now(),
				Facts: []reports.Fact{
					{Name: "name", Title: "Name", Value: customer.Name}, {Name: "status", Title: "Status", Value: string(customer.Status)},
					{Name: "phone", Title: "Phone", Value: phoneState(customer)},
					{Name: "code", Title: "Secret code", Value: codeState(customer)}, {Name: "twitter", Title: "Twitter", Value: handles(accounts)},
				},
				Columns: []reports.Column{
					{Name: "at", Title: "At", Kind: reports.Instant}, {Name: "event", Title: "Event", Kind: reports.Text},
					{Name: "actor", Title: "By", Kind: reports.Text}, {Name: "reason", Title: "Reason", Kind: reports.Text},
				},
			}
			for _, e := range events {
				table.Rows = append(table.Rows, reports.Row{Cells: []any{e.At, e.Event, e.Actor, e.Reason}})
			}
			if len(events) == newestEvents {
				table.Notes = append(table.Notes, fmt.Sprintf("There may be more: these are the newest %d", newestEvents))
			}
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

func customerTable(ctx context.Context, tx *sqldb.Tx, f payments.CustomerFilter) (reports.Table, error) {
	table := reports.Table{
		Name: "customers", Title: "Customers",
		Columns: []reports.Column{
			{Name: "number", Title: "Number", Kind: reports.Text}, {Name: "name", Title: "Name", Kind: reports.Text},
			{Name: "status", Title: "Status", Kind: reports.Text}, {Name: "code", Title: "Secret code", Kind: reports.Text},
			{Name: "twitter", Title: "Twitter", Kind: reports.Text},
			{Name: "posted", Title: "Wallet", Kind: reports.Money}, {Name: "available", Title: "Available", Kind: reports.Money},
		},
	}
	customers, err := payments.ListCustomers(ctx, tx, f)
	if err != nil {
		return reports.Table{}, err
	}
	for _, customer := range customers {
		balance, err := engine.FindBalance(ctx, tx, customer.WalletID)
		if err != nil {
			return reports.Table{}, err
		}
		links, err := payments.ListLinks(ctx, tx, customer.ID)
		if err != nil {
			return reports.Table{}, err
		}
		table.Rows = append(table.Rows, reports.Row{Cells: []any{
			customer.Number, customer.Name, string(customer.Status), codeState(customer), handles(links),
			reports.Cash{Amount: balance.Posted(), Currency: balance.Currency},
			reports.Cash{Amount: balance.Available(), Currency: balance.Currency},
		}})
	}
	if len(customers) == f.Limit {
		table.Notes = append(table.Notes, fmt.Sprintf("There may be more: go on with --after %s", customers[len(customers)-1].Number))
	}
	return table, nil
}

// phoneState is a customer's number, masked as everywhere, and since when it is known to be the customer's.
func phoneState(c payments.Customer) string {
	if !c.ErasedAt.IsZero() {
		return "erased"
	}
	if c.PhoneVerifiedAt.IsZero() {
		return notify.MaskPhone(c.Phone) + " (not proven)"
	}
	return notify.MaskPhone(c.Phone) + " (proven " + c.PhoneVerifiedAt.UTC().Format(time.DateOnly) + ")"
}

func codeState(c payments.Customer) string {
	switch {
	case !c.HasSecret:
		return "none"
	case !c.SecretBlockedAt.IsZero():
		return "blocked"
	}
	return "set"
}

func handles(links []payments.Link) string {
	names := make([]string, len(links))
	for i, link := range links {
		names[i] = "@" + link.Handle + " (" + link.UserID + ")"
	}
	return strings.Join(names, ", ")
}

func (a *app) customerLinkCommand() *cobra.Command {
	var id, handle string
	c := &cobra.Command{
		Use: "link NUMBER --twitter-id ID --handle HANDLE", Short: "Link a Twitter account to a customer, by its numeric id",
		Long: `link says that a Twitter account is this customer's. Its tweets are then the
customer's orders, so the caller must have made sure of it. An account belongs to
one customer or payee; the same link twice changes nothing.`,
		Example: `  tweetledger customer link c-000017 --twitter-id 700000101 --handle marie_test`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkTwitterID(id); err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			if err := service.LinkCustomer(c.Context(), twitter.Channel, id, strings.TrimPrefix(handle, "@"), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "linked Twitter account %s to customer %s\n", id, args[0])
			return err
		},
	}
	linkFlags(c, &id, &handle)
	return c
}

func (a *app) customerLinkInviteCommand() *cobra.Command {
	var actor string
	c := &cobra.Command{
		Use: "link-invite NUMBER", Short: "Make an address under which a customer links a Twitter account",
		Long: `link-invite prints an address for this customer, and nobody else: hand it over on a way
on which you know who is there. On the page the customer enters the secret code and then
says on X's own page which account it is; nothing but its numeric id is kept. The address
is good once, for rules.link_term; a new one ends the one before.`,
		Example: `  tweetledger customer link-invite c-000017`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, s, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			if s.Twitter.ClientID == "" || s.Twitter.APIURL == "" {
				return ledger.Errorf(ledger.CodeInvalid, "customers cannot link accounts themselves: set api_url and client_id, or use \"tweetledger customer link\"").InField("twitter.client_id")
			}
			invitation, err := service.InviteToLink(c.Context(), args[0], a.actor(actor))
			if err != nil {
				return err
			}
			return a.showInvitation(invitation)
		},
	}
	actorFlag(c, &actor)
	return c
}

func (a *app) showInvitation(i payments.Invitation) error {
	_, err := fmt.Fprintf(a.out, "%s\ngood until %s\n", i.Address, i.ExpiresAt.UTC().Format(time.RFC3339))
	return err
}

func (a *app) customerAccountPageCommand() *cobra.Command {
	var actor string
	c := &cobra.Command{
		Use: "account-page NUMBER", Short: "Make an address under which a customer sees the own account",
		Long: `account-page prints an address for this customer, and nobody else: hand it over on a way
on which you know who is there. On the page the customer sees the own cards, registers one
on the card processor's page and removes one, and redeems e-money to the own bank account;
that takes the secret code. The address is good for rules.link_term; a new one ends the
one before.`,
		Example: `  tweetledger customer account-page c-000017`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			invitation, err := service.InviteToAccount(c.Context(), args[0], a.actor(actor))
			if err != nil {
				return err
			}
			return a.showInvitation(invitation)
		},
	}
	actorFlag(c, &actor)
	return c
}

func (a *app) customerUnlinkCommand() *cobra.Command {
	var id, actor, reason string
	c := &cobra.Command{
		Use: "unlink NUMBER --twitter-id ID", Short: "Take a Twitter account from a customer",
		Long: `unlink makes an account nobody's: its tweets are no orders any more, and payments to it
wait for whoever links it next. Orders that were made before stay the customer's.`,
		Example: `  tweetledger customer unlink c-000017 --twitter-id 700000101 --reason "account stolen"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkTwitterID(id); err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			if err := service.UnlinkCustomer(c.Context(), twitter.Channel, id, args[0], a.actor(actor), reason); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "unlinked Twitter account %s from customer %s\n", id, args[0])
			return err
		},
	}
	c.Flags().StringVar(&id, "twitter-id", "", "numeric user id of the account")
	required(c, "twitter-id")
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}

func linkFlags(c *cobra.Command, id, handle *string) {
	c.Flags().StringVar(id, "twitter-id", "", "numeric user id: handles are renamed and recycled, ids are not")
	c.Flags().StringVar(handle, "handle", "", "handle as it is now, for people to read")
	required(c, "twitter-id", "handle")
}

// checkTwitterID keeps a handle from being linked as an id: no tweet would ever
// match it. X's ids are 64-bit numbers without a sign.
func checkTwitterID(id string) error {
	if n, err := strconv.ParseUint(id, 10, 64); err != nil || n == 0 || id[0] == '0' {
		return ledger.Errorf(ledger.CodeInvalid, "%q is not a numeric user id; write it like 700000101 (a handle goes to --handle)", id).InField("--twitter-id")
	}
	return nil
}

func (a *app) customerCodeCommand() *cobra.Command {
	var actor string
	c := &cobra.Command{
		Use: "code NUMBER", Short: "Set a customer's secret code; it is read from the terminal or from standard input",
		Long: `code sets the six digits with which the customer confirms payments, and lifts a
block. The code is asked for on the terminal without being shown, or read as one line
from standard input; it is never an argument, which every process could read. A code
that is easy to guess is refused, and why: 111111, 123456, 121212, 112233, lines of the
keypad, digits of the customer's telephone number.`,
		Example: `  tweetledger customer code c-000017
  tweetledger customer code c-000017 <code.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			code, err := a.readCode()
			if err != nil {
				return err
			}
			if err := service.SetSecretCode(c.Context(), args[0], code, a.actor(actor)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "set the secret code of customer %s\n", args[0])
			return err
		},
	}
	actorFlag(c, &actor)
	return c
}

func actorFlag(c *cobra.Command, actor *string) {
	c.Flags().StringVar(actor, "actor", "", "who does this, for the audit trail (default $TWEETLEDGER_ACTOR, else the system user)")
}

func reasonFlag(c *cobra.Command, reason *string) {
	c.Flags().StringVar(reason, "reason", "", "why, for the audit trail")
	required(c, "reason")
}

// maxCodeLine bounds what is read as a code: a few digits and a line end.
const maxCodeLine = 256

// readCode reads a secret code without showing it: codes never stand on a command
// line, where every process of the machine could read them.
func (a *app) readCode() (string, error) {
	if file, ok := a.in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		fmt.Fprint(a.err, "Secret code: ")
		code, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(a.err)
		if err != nil {
			return "", fmt.Errorf("read the secret code: %w", err)
		}
		return strings.TrimSpace(string(code)), nil
	}
	line, err := bufio.NewReader(io.LimitReader(a.in, maxCodeLine)).ReadString('\n')
	if err != nil && line == "" {
		return "", ledger.Errorf(ledger.CodeInvalid, "standard input holds no code; write it there as one line")
	}
	return strings.TrimSpace(line), nil
}

func (a *app) customerStatusCommand(use, short, long string, status payments.Status) *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: use + " NUMBER", Short: short, Long: long, Example: "  tweetledger customer " + use + ` c-000017 --reason "phone reported stolen"`, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			if err := service.SetCustomerStatus(c.Context(), args[0], status, a.actor(actor), reason); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "customer %s is %s\n", args[0], status)
			return err
		},
	}
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}

func (a *app) customerUnblockCodeCommand() *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: "unblock-code NUMBER", Short: "Lift the block of a secret code after too many wrong tries",
		Long: `unblock-code gives the customer new tries with the same secret code. Make sure who is
asking first: the block is there because somebody has guessed.`,
		Example: `  tweetledger customer unblock-code c-000017 --reason "called back on the number we know"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			if err := service.UnblockCode(c.Context(), args[0], a.actor(actor), reason); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "the secret code of customer %s works again\n", args[0])
			return err
		},
	}
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}
