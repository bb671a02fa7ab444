// Command etcd is the etcd server. The main package of the project's own binary lives in a module that the
// module proxy does not have for every version; this one calls what that one calls.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
