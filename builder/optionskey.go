package builder

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Key returns a text that is equal for options with which a build has the same result, so that two clients can share
// it. Limits do not count. settings are the settings that count and are not in the options, for example the one from which
// ImpureEnv returns values, because functions cannot be compared. The text is a hash, so it does not reveal keys and passwords.
func (o *Options) Key(settings ...string) string {
	own := *o
	own.Timeout, own.MaxSilentTime, own.MaxLogSize, own.PollInterval = 0, 0, 0, 0
	own.ImpureEnv, own.SecretKeys = nil, nil
	h := sha256.New()
	fmt.Fprintf(h, "%#v\n%q\n", own, settings)
	for _, key := range o.SecretKeys {
		fmt.Fprintf(h, "%q\n", key.Public().String())
	}
	return hex.EncodeToString(h.Sum(nil))
}
