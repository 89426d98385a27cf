// The foreign process of bench `stall`: as busy as the main thread it is compared with, and nothing else.

import process from 'node:process';
import { beBusy } from '../lib/busy.ts';

process.stdout.write('busy\n');
process.stdin.once('data', () => beBusy());
