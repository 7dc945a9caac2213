"""Super-nets that are trained already: found, verified, unpacked as a run directory; and packed from one."""
