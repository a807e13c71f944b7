package nixconf_test

import (
	"fmt"

	"pix/nixconf"
)

func ExampleLoad() {
	env := map[string]string{
		"NIX_CONF_DIR": "/nowhere",
		"NIX_CONFIG":   "extra-trusted-users = @wheel\nsandbox = true",
	}
	c, err := nixconf.Load(func(name string) string { return env[name] })
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("trusted are", c.TrustedUsers)
	fmt.Println("pix does not know of", c.Unknown)
	// Output:
	// trusted are [root @wheel]
	// pix does not know of [sandbox]
}
