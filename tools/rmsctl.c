/*
 * Purpose: rmsctl, the operator's tool.
 *
 * Runs in: rmsctl, as the user who types it; needs no privilege of its own,
 *          the connector checks who asks.
 * Trusts:  nobody.
 * Touches: the control socket; with `probe` and names, the network.
 * Failure: exit status and a line; see tools/ctl/verbs.def.
 */
#include <locale.h>
#include <signal.h>
#include <stdio.h>

#include "tools/ctl/ctl.h"

int
main(int argc, char **argv)
{
	/* A connector that dies while we write is an error, not our end. */
	signal(SIGPIPE, SIG_IGN);
	return ctl_main(argc, argv, stdout, stderr);
}
