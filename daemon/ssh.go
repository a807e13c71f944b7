package daemon

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pix/internal/redact"
)

// SSH is the [Transport] to a daemon on another machine. Like Nix, it runs OpenSSH, so that the
// user's configuration, agents and jump hosts work. On the other machine it runs "nix-daemon
// --stdio". For the host "localhost", without a user and a port, it runs that without ssh.
type SSH struct {
	User string // "" means the default of ssh
	Host string
	Port int // 0 means the default of ssh

	Options       []string // arguments for ssh, before all others
	Key           string   // the file of a private key; "" means the default of ssh
	HostKey       string   // base64 of the host's line in known_hosts, without its name; "" means the default of ssh
	Compress      bool
	RemoteProgram []string // without "--stdio"; nil means nix-daemon
	RemoteStore   string   // the URI of the store that the remote program opens; "" means its default
}

// String returns the URI without parameters.
func (s *SSH) String() string {
	text := s.target()
	if strings.Contains(s.Host, ":") {
		text = strings.Replace(text, s.Host, "["+s.Host+"]", 1)
	}
	if s.Port != 0 {
		text += ":" + strconv.Itoa(s.Port)
	}
	return "ssh-ng://" + text
}

// target returns "user@host" for ssh.
func (s *SSH) target() string {
	if s.User != "" {
		return s.User + "@" + s.Host
	}
	return s.Host
}

// started is printed by ssh when the connection is established. It distinguishes an ssh that
// cannot connect from a daemon that does not answer. It replaces a LocalCommand in the user's
// configuration.
const started = "started\n"

// Dial implements [Transport].
func (s *SSH) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.validate(); err != nil {
		return nil, err
	}
	if s.isThisMachine() {
		return Command{Args: s.remoteCommand()}.start("", func() {})
	}
	args, cleanUp, err := s.args()
	if err != nil {
		return nil, err
	}
	return Command{Args: args, Env: []string{"SHELL=/bin/sh"}}.start(started, cleanUp)
}

// handshakeTimeout is the default of Options.HandshakeTimeout for ssh, which may ask for a
// password, or for a touch of a key.
func (s *SSH) handshakeTimeout() time.Duration { return 2 * time.Minute }

// validate rejects names that ssh would take as an option.
func (s *SSH) validate() error {
	switch {
	case s.Host == "":
		return errors.New("the host name is empty")
	case strings.HasPrefix(s.Host, "-"):
		return fmt.Errorf("the host name %q starts with '-'", s.Host)
	case strings.HasPrefix(s.User, "-"):
		return fmt.Errorf("the user name %q starts with '-'", s.User)
	}
	return nil
}

// args returns the command line. cleanUp removes the files that it uses.
func (s *SSH) args() (args []string, cleanUp func(), err error) {
	args = append([]string{"ssh", s.target(), "-x"}, s.Options...)
	if s.Key != "" {
		args = append(args, "-i", s.Key)
	}
	cleanUp = func() {}
	if s.HostKey != "" {
		var option string
		if option, cleanUp, err = s.knownHosts(); err != nil {
			return nil, nil, err
		}
		args = append(args, option)
	}
	if s.Compress {
		args = append(args, "-C")
	}
	if s.Port != 0 {
		args = append(args, "-p"+strconv.Itoa(s.Port))
	}
	args = append(args, "-oPermitLocalCommand=yes", "-oLocalCommand=echo started", "--")
	return append(args, s.remoteCommand()...), cleanUp, nil
}

// remoteCommand returns the command line on the other machine.
func (s *SSH) remoteCommand() []string {
	args := []string{"nix-daemon"}
	if len(s.RemoteProgram) > 0 {
		args = slices.Clone(s.RemoteProgram)
	}
	args = append(args, "--stdio")
	if s.RemoteStore != "" {
		args = append(args, "--store", s.RemoteStore)
	}
	return args
}

// isThisMachine reports whether the remote program is run without ssh: as in Nix, for "localhost" without a user and a
// port.
func (s *SSH) isThisMachine() bool { return s.target() == "localhost" && s.Port == 0 }

// knownHosts creates a file with the host's key and returns the option for it.
func (s *SSH) knownHosts() (option string, cleanUp func(), err error) {
	key, err := base64.StdEncoding.DecodeString(s.HostKey)
	if err != nil {
		return "", nil, fmt.Errorf("the host key: %w", err)
	}
	dir, err := os.MkdirTemp("", "pix-ssh")
	if err != nil {
		return "", nil, err
	}
	cleanUp = func() { os.RemoveAll(dir) }
	file := filepath.Join(dir, "host-key")
	if err := os.WriteFile(file, []byte(s.Host+" "+string(key)+"\n"), 0o600); err != nil {
		cleanUp()
		return "", nil, err
	}
	return "-oUserKnownHostsFile=" + file, cleanUp, nil
}

// ParseSSH parses a URI "ssh-ng://[user@]host[:port][?parameter=value&…]". The parameters are
// the same as in Nix: ssh-key, base64-ssh-public-host-key, compress, remote-program and
// remote-store. An unknown parameter or a path is an error.
func ParseSSH(uri string) (*SSH, error) {
	rest, ok := strings.CutPrefix(uri, "ssh-ng://")
	if !ok {
		return nil, errors.New("it does not start with ssh-ng://")
	}
	authority, query, _ := strings.Cut(rest, "?")
	s := new(SSH)
	if err := s.parseAuthority(authority); err != nil {
		return nil, err
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	for name, values := range params {
		if len(values) > 1 {
			return nil, fmt.Errorf("the parameter %s is given more than once", name)
		}
		if err := s.set(name, values[0]); err != nil {
			return nil, err
		}
	}
	return s, s.validate()
}

func (s *SSH) parseAuthority(authority string) error {
	if strings.Count(authority, ":") > 1 && !strings.Contains(authority, "[") {
		at := strings.LastIndex(authority, "@") + 1 // an IPv6 address without brackets, which Nix accepts
		authority = authority[:at] + "[" + authority[at:] + "]"
	}
	u, err := url.Parse("ssh-ng://" + authority)
	if err != nil {
		return redact.Error(err)
	}
	if u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return errors.New("the host is followed by something other than a port or parameters")
	}
	if u.User != nil {
		if _, has := u.User.Password(); has {
			return errors.New("it contains a password; remove it, and ssh will ask for it")
		}
		if s.User = u.User.Username(); s.User == "" {
			return errors.New("the user name is empty")
		}
	}
	s.Host = u.Hostname()
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("the port %q is invalid", port)
		}
		s.Port = int(n)
	}
	return nil
}

func (s *SSH) set(name, value string) (err error) {
	switch name {
	case "ssh-key":
		s.Key = value
	case "base64-ssh-public-host-key":
		s.HostKey = value
	case "compress":
		s.Compress, err = strconv.ParseBool(value)
	case "remote-program":
		s.RemoteProgram = strings.Fields(value)
	case "remote-store":
		s.RemoteStore = value
	default:
		return fmt.Errorf("the parameter %s is unknown", name)
	}
	if err != nil {
		return fmt.Errorf("the parameter %s: %w", name, err)
	}
	return nil
}

// SplitSSHOptions splits the value of NIX_SSHOPTS into arguments for ssh, at white space
// outside single quotes, double quotes and backslash escapes. An unclosed quote is an error.
func SplitSSHOptions(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			word.WriteByte(s[i])
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case strings.IndexByte(" \t\n\r", c) >= 0:
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
