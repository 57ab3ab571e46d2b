package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// smtpTimeout bounds each step of a conversation with a mail server. All of them
// together are bounded by the attempt's context.
const smtpTimeout = 10 * time.Second

// The ways to encrypt a connection to a mail server.
const (
	StartTLS    = "starttls" // begun in clear, encrypted before anything is said (RFC 3207)
	ImplicitTLS = "implicit" // encrypted from the first byte (RFC 8314)
	NoTLS       = "none"     // on this machine only
)

// SMTPOptions say how to reach a mail server.
type SMTPOptions struct {
	Host      string
	Port      int
	TLS       string // StartTLS, ImplicitTLS or NoTLS
	Username  string // empty: the server asks for none
	Password  string
	From      string // address of the sender, also with a name: "S-money <notices@bank.example>"
	SMSDomain string // SMS go to <number>@SMSDomain, the provider's gateway from mail to SMS
	Clock     func() time.Time
	RootCAs   *x509.CertPool // that sign the server's certificate; nil: those of the system
}

// SMTP is a payments.Notifier that sends each notice through a mail server.
type SMTP struct {
	o    SMTPOptions
	from *mail.Address
}

// NewSMTP returns an SMTP. The error is an Error with CodeInvalid that names what is
// wrong.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	invalid := func(field, format string, args ...any) (*SMTP, error) {
		return nil, ledger.Errorf(ledger.CodeInvalid, format, args...).InField(field)
	}
	from, err := mail.ParseAddress(o.From)
	switch {
	case !validHost(o.Host):
		return invalid("smtp_host", "%q is not the name of a mail server", o.Host)
	case o.Port < 1 || o.Port > 65535:
		return invalid("smtp_port", "%d is not a port; submission is 587 with starttls, 465 with implicit", o.Port)
	case o.TLS != StartTLS && o.TLS != ImplicitTLS && o.TLS != NoTLS:
		return invalid("smtp_tls", "%q is no way to encrypt; use %s, %s, or %s on this machine", o.TLS, StartTLS, ImplicitTLS, NoTLS)
	case o.TLS == NoTLS && !isLoopback(o.Host):
		return invalid("smtp_tls", "notices to %s would go over the network unencrypted; use %s or %s", o.Host, StartTLS, ImplicitTLS)
	case (o.Username == "") != (o.Password == ""):
		return invalid("smtp_username", "a user name needs a password, and a password a user name")
	case err != nil || !validAddress(from.Address):
		return invalid("smtp_from", "%q is not an address to send from; write it like notices@bank.example", o.From)
	case !ledger.Printable(o.From, maxAddress):
		return invalid("smtp_from", "the sender is at most %d bytes of printable text", maxAddress)
	case !validHost(o.SMSDomain):
		return invalid("smtp_sms_domain", "%q is not the domain of a gateway from mail to SMS; write it like sms.example", o.SMSDomain)
	case o.Clock == nil:
		return invalid("clock", "a mail needs a clock: it carries its date")
	}
	return &SMTP{o: o, from: from}, nil
}

// maxAddress bounds an address with its name. RFC 5321 allows 254 bytes for the
// address.
const maxAddress = 320

// validHost reports whether s can be the name or the IP of a server.
func validHost(s string) bool {
	const names = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-."
	if net.ParseIP(s) != nil {
		return true
	}
	return s != "" && len(s) <= 253 && strings.Trim(s, names) == "" && !strings.HasPrefix(s, ".") && !strings.HasPrefix(s, "-")
}

// validAddress reports whether s is an address that is safe in a header and in a
// command to a server: printable ASCII without quoting, one @, a host behind it.
func validAddress(s string) bool {
	local, host, ok := strings.Cut(s, "@")
	const atoms = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+/=?^_`{|}~-"
	return ok && local != "" && len(local) <= 64 && strings.Trim(local, atoms) == "" && validHost(host)
}

// Notify implements payments.Notifier. A server's 5xx to a mail is permanent; all else,
// its refusal of our password included, is tried again with the same Message-ID, by which a relay drops repeats. An error
// never holds what the server wrote, but for its code.
func (s *SMTP) Notify(ctx context.Context, n payments.Notice) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	message, err := s.message(n)
	if err != nil {
		return &payments.SendError{Permanent: true, Err: fmt.Errorf("write notice %s: %w", n.ID, err)}
	}
	var wire net.Conn
	defer func() {
		if wire != nil {
			_ = wire.Close() // after QUIT, or when there is nothing to save
		}
	}()
	client, err := gomail.NewClient(s.o.Host, s.clientOptions(func(dialing context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(dialing, network, address)
		if err != nil {
			return nil, err
		}
		wire = conn
		// The library's deadlines are per step; the attempt's is for all of them.
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		if s.o.TLS != ImplicitTLS {
			return conn, nil
		}
		encrypted := tls.Client(conn, s.tlsConfig())
		return encrypted, encrypted.HandshakeContext(dialing)
	})...)
	if err != nil {
		return &payments.SendError{Permanent: true, Err: fmt.Errorf("configure the mail client: %w", err)}
	}
	server, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		// Whatever it answers to a greeting or a password is about us, not about this notice.
		return &payments.SendError{Err: fmt.Errorf("the mail server takes no notices: %w", tellable(err))}
	}
	err = client.SendWithSMTPClient(server, message)
	if err == nil || message.IsDelivered() {
		_ = client.CloseWithSMTPClient(server) // it was taken: a failing goodbye changes nothing
		return nil
	}
	return judgeMail(err)
}

// clientOptions are those of a client for one message: it keeps no connection, since
// mail servers end idle ones.
func (s *SMTP) clientOptions(dial gomail.DialContextFunc) []gomail.Option {
	options := []gomail.Option{gomail.WithPort(s.o.Port), gomail.WithTimeout(smtpTimeout), gomail.WithTLSConfig(s.tlsConfig()),
		gomail.WithDialContextFunc(dial), gomail.WithoutNoop(), gomail.WithoutRset()}
	switch s.o.TLS {
	case StartTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case ImplicitTLS:
		options = append(options, gomail.WithSSL())
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if s.o.Username != "" {
		options = append(options, gomail.WithUsername(s.o.Username), gomail.WithPassword(s.o.Password),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
	}
	return options
}

func (s *SMTP) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: s.o.Host, MinVersion: tls.VersionTLS12, RootCAs: s.o.RootCAs}
}

// message writes the mail of a notice.
func (s *SMTP) message(n payments.Notice) (*gomail.Msg, error) {
	to := strings.TrimPrefix(n.Phone, "+") + "@" + s.o.SMSDomain
	if !validAddress(to) {
		return nil, errors.New("the customer's number makes no address of the gateway")
	}
	_, domain, _ := strings.Cut(s.from.Address, "@")
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	m.SetAddrHeaderFromMailAddress(gomail.HeaderFrom, s.from)
	m.SetAddrHeaderFromMailAddress(gomail.HeaderTo, &mail.Address{Address: to})
	id := n.ID + "@" + domain
	if !validAddress(id) {
		return nil, errors.New("its id makes no Message-ID")
	}
	m.SetMessageIDWithValue(id)
	m.SetDateWithValue(s.o.Clock())
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no holiday answers
	m.SetBodyString(gomail.TypeTextPlain, n.Text)
	return m, nil
}

// judgeMail makes a *payments.SendError of the library's, without what the server
// wrote: servers repeat the recipient's address, which holds the number.
func judgeMail(err error) error {
	failed, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		return &payments.SendError{InDoubt: true, Err: fmt.Errorf("the mail was not taken: %w", tellable(err))}
	}
	code, text := failed.ErrorCode(), "the mail was not taken: "+failed.Reason.String()
	switch {
	case code != 0 && failed.EnhancedStatusCode() != "":
		text += fmt.Sprintf(": the server answered %d %s", code, failed.EnhancedStatusCode())
	case code != 0:
		text += fmt.Sprintf(": the server answered %d", code)
	}
	// Between the end of the text and the server's answer nobody knows whose it is.
	return &payments.SendError{Permanent: code >= 500, InDoubt: failed.Reason == gomail.ErrSMTPDataClose && code == 0, Err: errors.New(text)}
}

// serverCode returns the code of a server's refusal, or 0.
func serverCode(err error) int {
	if said, ok := errors.AsType[*textproto.Error](err); ok {
		return said.Code
	}
	return 0
}

// tellable returns err without a server's own words.
func tellable(err error) error {
	if code := serverCode(err); code != 0 {
		return fmt.Errorf("it answered %d", code)
	}
	return err
}
